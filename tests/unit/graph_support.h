/* Finding things in the modules of graph tests by the names that the text gave them. */
#pragma once
#include "ir/graph.h"

#include <string.h>

/* 0 where nothing has the name. */
static inline sinter_value find(const sinter_module *module, const char *name) {
    for (sinter_value value = 1; value < sinter_module_value_limit(module); value++) {
        const sinter_value_info *info = sinter_value_get(module, value);
        if (!info->erased && info->name && strcmp(info->name, name) == 0) return value;
    }
    return 0;
}

static inline sinter_node node_of(const sinter_module *module, const char *name) {
    return sinter_value_definition(module, find(module, name));
}
