/* See failures.h. */
#include "runtime/jit/failures.h"

#include <string.h>

static const char *text_of(const sinter_text *text) {
    return text->data ? text->data : "";
}

static void keep(void *user, sinter_severity severity, const char *where, const char *message) {
    sinter_failure *failure = user;
    (void)severity;
    if (!failure->message.size) {
        sinter_text_append_string(&failure->where, where);
        sinter_text_append_string(&failure->message, message);
        return;
    }
    sinter_text_format(&failure->message, "\n%s%s%s", where, *where ? ": " : "", message);
}

sinter_diag sinter_failure_sink(sinter_failure *failure) {
    return (sinter_diag){.handler = keep, .user = failure};
}

static bool is_same(const sinter_failure *a, const sinter_failure *b) {
    return b->failed && !strcmp(text_of(&a->where), text_of(&b->where)) &&
           !strcmp(text_of(&a->message), text_of(&b->message));
}

/* " (ranks 0-2, 5)" */
static void print_who(const sinter_failure *failures, size_t count, size_t first, const char *kind,
                      sinter_text *text) {
    size_t who = 0;
    const char *before = " ";
    for (size_t i = first; i < count; i++) who += is_same(&failures[first], &failures[i]);
    sinter_text_format(text, " (%s%s", kind, who > 1 ? "s" : "");
    for (size_t i = first; i < count; i++) {
        size_t end = i;
        while (end < count && is_same(&failures[first], &failures[end])) end++;
        if (end == i) continue;
        sinter_text_format(text, "%s%zu", before, i);
        if (end - i > 1) sinter_text_format(text, "%s%zu", end - i > 2 ? "-" : ", ", end - 1);
        before = ", ";
        i = end;
    }
    sinter_text_append_string(text, ")");
}

void sinter_failures_report(const sinter_failure *failures, size_t count, const char *kind,
                            sinter_diag *diag) {
    for (size_t i = 0; i < count; i++) {
        const sinter_failure *failure = &failures[i];
        bool said = !failure->failed;
        for (size_t k = 0; k < i && !said; k++)
            said = failures[k].failed && is_same(failure, &failures[k]);
        if (said) continue;
        sinter_text who = {0};
        print_who(failures, count, i, kind, &who);
        sinter_error(diag, text_of(&failure->where), "%s%s",
                     failure->message.size ? failure->message.data : "failed", who.data);
        sinter_text_deinit(&who);
    }
}

void sinter_failures_deinit(sinter_failure *failures, size_t count) {
    for (size_t i = 0; i < count; i++) {
        sinter_text_deinit(&failures[i].where);
        sinter_text_deinit(&failures[i].message);
    }
}
