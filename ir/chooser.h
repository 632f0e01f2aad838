/* Which of several ways to compute a layer a pass takes: what the cost model prefers is the first answer, what was measured
 * overrules it, by functions that its caller gives (codegen/tuning.h). A layer is known by its shapes and attributes, so that an
 * answer holds for equal layers of any model. Test: tests/unit/tuning_test.c */
#pragma once
#include "ir/graph.h"

enum { SINTER_CHOOSER_WORD = 24 }; /* bytes of a question or an answer, with the NUL */
typedef struct sinter_chooser_answer {
    char text[SINTER_CHOOSER_WORD];
} sinter_chooser_answer;

typedef struct sinter_chooser_question {
    uint64_t layer; /* hash of what is asked about, and of the question */
    const char *text;
    const sinter_chooser_answer *answers; /* the cost model's first */
    uint32_t answer_count;
    const char *const *locations; /* of the nodes whose time the answer changes; NULL where a node has none */
    uint32_t location_count;
} sinter_chooser_question;

typedef struct sinter_chooser {
    void *user;
    /* The number of the answer to take. */
    uint32_t (*choose)(void *user, const sinter_chooser_question *question);
} sinter_chooser;

/* Asks about the nodes together, whose first decides; 0, the cost model's, where nobody measured (chooser NULL) or there is one
 * answer. */
uint32_t sinter_chooser_ask(const sinter_chooser *chooser, const sinter_module *module, const sinter_node *nodes, uint32_t count,
                            const char *question, const sinter_chooser_answer *answers, uint32_t answer_count);
