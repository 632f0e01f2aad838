/* What runtime/job.c, runtime/job_exchange.c and runtime/job_rounds.c share. */
#pragma once
#include "runtime/exchange.h"
#include "runtime/job.h"
#include "runtime/transport.h"

/* Groups of so many ranks exchange directly; sums of so few bytes are exchanged whole. Prices in ir/hardware.h know them too. */
enum { SINTER_JOB_DIRECT_RANKS = 8, SINTER_JOB_SHORT_BYTES = 16384, SINTER_JOB_ROOMS = 3 };

/* A group that the transport knows, by the axes of its exchanges. */
typedef struct sinter_job_group {
    uint64_t over;
    int number;
} sinter_job_group;

typedef enum sinter_job_step_kind {
    SINTER_JOB_SEND,    /* from, bytes; peer: rank of the job */
    SINTER_JOB_RECEIVE, /* to, bytes; peer */
    SINTER_JOB_FINISH,  /* until all that was begun of this exchange is done */
    SINTER_JOB_MOVE,    /* pieces of `bytes` at distances in bytes of their own; they may overlap where they are moved one by one, from the last one on where it is backwards */
    SINTER_JOB_COMBINE  /* elements of sources to `to` */
} sinter_job_step_kind;

typedef struct sinter_job_step {
    sinter_job_step_kind kind;
    int64_t peer;
    char *to;
    const char *from;
    uint64_t bytes, pieces, to_apart, from_apart;
    bool backwards;
    uint64_t count;      /* COMBINE: elements */
    int64_t source_count;
    const void *sources[SINTER_JOB_DIRECT_RANKS];
} sinter_job_step;

/* An exchange of this rank: what there is to do, in order, and how far that is. */
typedef struct sinter_job_meeting {
    struct sinter_job *job;
    sinter_abi_exchange words;
    sinter_exchange_group group;
    int tag;
    size_t size;    /* of an element */
    uint64_t bytes; /* of the source */
    sinter_job_step *steps; /* kept from exchange to exchange, with their room */
    size_t count, room, at;
    void *rooms[SINTER_JOB_ROOMS]; /* memory until it is done */
    int room_count;
    bool is_ready;  /* the steps are there */
    bool no_memory; /* for them */
    int32_t code;   /* of what failed; 0: SINTER_ABI_FAILED */
} sinter_job_meeting;

struct sinter_job {
    char *name;
    sinter_transport *transport;
    void *library;
    double seconds;
    sinter_exchange_mesh mesh;
    int64_t first; /* process that is rank 0 of the mesh that this one is in */
    bool any_order;
    sinter_job_group *joined;
    size_t joined_count;
    sinter_abi_services services;
    sinter_job_meeting meetings[SINTER_ABI_EXCHANGES_UNDER_WAY]; /* by number, around */
    uint64_t begun, ended; /* exchanges */
    uint64_t before_run;   /* of these, when the run started */
    uint64_t rounds;       /* that came to their ends, over all exchanges */
    char why[200]; /* the last thing that failed */
};

/* 1: done, 0: not yet, and out_late is a rank that something is missing of, -1: failed, and why says so. */
typedef int sinter_job_look(void *user, int64_t *out_late);
/* Until the look says that it is done: true. Otherwise why says who is to blame; patience begins anew with each round of an exchange. */
bool sinter_job_wait(sinter_job *job, sinter_job_look *look, void *user);
/* The transport failed: why says how. False. */
bool sinter_job_transport_failed(sinter_job *job);
/* Where time is simulated: a run of the program has come to this place of sinter_transport.pass. False: why says what is wrong. */
bool sinter_job_pass(sinter_job *job, int64_t place);
/* services->exchange, and services->trace, at which exchanges that are under way go on. */
int32_t sinter_job_exchange(sinter_abi_call *call, const sinter_abi_exchange *words);
void sinter_job_trace(void *user, uint32_t kernel, int32_t begin);

/* ---- steps of an exchange, one after the other; where there is no memory for them no_memory is set ---- */
void sinter_job_add(sinter_job_meeting *meeting, const sinter_job_step *step);
/* Memory until the exchange is done; NULL: none. */
void *sinter_job_get_room(sinter_job_meeting *meeting, uint64_t bytes);
/* What the job has of exchanges and groups goes back. */
void sinter_job_release(sinter_job *job);
/* Nothing is left to do, memory goes back. */
void sinter_job_clear(sinter_job_meeting *meeting);
typedef enum sinter_job_patience {
    SINTER_JOB_POSTS, /* up to the end of a round */
    SINTER_JOB_LOOKS, /* past rounds that are done */
    SINTER_JOB_WAITS  /* the same, round by round; where time is simulated, until a round is done */
} sinter_job_patience;
/* 1: done, 0: not yet, -1: failed, see sinter_job_look. */
int sinter_job_advance(sinter_job_meeting *meeting, sinter_job_patience how, int64_t *out_late);
/* Looks, for all exchanges under way. False: one failed. */
bool sinter_job_advance_all(sinter_job *job);
