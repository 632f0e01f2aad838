/* Other programs that are run, and what a program leaves behind when it is stopped: nothing.
 *
 * Folders and files that are there for a time only are named here while they exist, children while they run. In a program
 * (sinter_process_begin) a signal that ends it first ends the children, then removes what was named; so does exit. A library
 * never asks for that, and then naming things is all there is to it. SIGKILL is nobody's to catch.
 * Test: tests/suites/bad_input.py */
#pragma once
#include <stdbool.h>
#include <sys/types.h>

/* The first call of a program: SIGHUP, SIGINT, SIGPIPE, SIGTERM and SIGXCPU clear up before they end it, where they would end
 * it and are not ignored. */
void sinter_process_begin(void);

/* Runs a program, found along PATH, with these arguments (the first is its name; NULL ends them) in a process group of its
 * own. Its temporary files go to `folder`; standard output and error go to the file `said`, or are ours where that is NULL.
 * 0 and what waitpid says of it, or the errno of why it can't be started. */
int sinter_process_run(const char *const *arguments, const char *folder, const char *said, int *out_status);
/* fork, and waitpid for the child; -1 with errno. */
pid_t sinter_process_fork(void);
int sinter_process_wait(pid_t child, int *out_status);
/* Asks a child to end, for it may have something to remove, and insists after two seconds; nothing is left to wait for. */
void sinter_process_end(pid_t child);

/* A file or folder that is there for a time; it need not exist yet. Only so many can be named at once: more are as safe as
 * the program is from being stopped. */
void sinter_process_name_path(const char *path);
void sinter_process_forget_path(const char *path);
/* mkdtemp, which names it as well; false with errno. */
bool sinter_process_make_folder(char *name);

/* Removes a file, or a folder with what is in it. */
void sinter_process_remove(const char *path);
