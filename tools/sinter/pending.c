/* temporary */
#include "runtime/jit/engine.h"
bool sinter_plan_memory(sinter_loop_program *p, sinter_diag *d);
__attribute__((weak)) bool sinter_plan_memory(sinter_loop_program *p, sinter_diag *d) { (void)p; (void)d; return true; }
#include "ir/eval_rules.h"
__attribute__((weak)) bool eval_adagrad(sinter_eval *e) { return sinter_eval_error(e, "missing"); }
__attribute__((weak)) bool eval_adam(sinter_eval *e) { return sinter_eval_error(e, "missing"); }
__attribute__((weak)) bool eval_affine_grid(sinter_eval *e) { return sinter_eval_error(e, "missing"); }
__attribute__((weak)) bool eval_array_feature_extractor(sinter_eval *e) { return sinter_eval_error(e, "missing"); }
__attribute__((weak)) bool eval_binarizer(sinter_eval *e) { return sinter_eval_error(e, "missing"); }
__attribute__((weak)) bool eval_bitcast(sinter_eval *e) { return sinter_eval_error(e, "missing"); }
__attribute__((weak)) bool eval_col2im(sinter_eval *e) { return sinter_eval_error(e, "missing"); }
__attribute__((weak)) bool eval_concat_from_sequence(sinter_eval *e) { return sinter_eval_error(e, "missing"); }
__attribute__((weak)) bool eval_cum_prod(sinter_eval *e) { return sinter_eval_error(e, "missing"); }
__attribute__((weak)) bool eval_cum_sum(sinter_eval *e) { return sinter_eval_error(e, "missing"); }
__attribute__((weak)) bool eval_deform_conv(sinter_eval *e) { return sinter_eval_error(e, "missing"); }
__attribute__((weak)) bool eval_dft(sinter_eval *e) { return sinter_eval_error(e, "missing"); }
__attribute__((weak)) bool eval_gru(sinter_eval *e) { return sinter_eval_error(e, "missing"); }
__attribute__((weak)) bool eval_label_encoder(sinter_eval *e) { return sinter_eval_error(e, "missing"); }
__attribute__((weak)) bool eval_loop(sinter_eval *e) { return sinter_eval_error(e, "missing"); }
__attribute__((weak)) bool eval_lstm(sinter_eval *e) { return sinter_eval_error(e, "missing"); }
__attribute__((weak)) bool eval_max_roi_pool(sinter_eval *e) { return sinter_eval_error(e, "missing"); }
__attribute__((weak)) bool eval_max_unpool(sinter_eval *e) { return sinter_eval_error(e, "missing"); }
__attribute__((weak)) bool eval_mel_weight_matrix(sinter_eval *e) { return sinter_eval_error(e, "missing"); }
__attribute__((weak)) bool eval_momentum(sinter_eval *e) { return sinter_eval_error(e, "missing"); }
__attribute__((weak)) bool eval_non_max_suppression(sinter_eval *e) { return sinter_eval_error(e, "missing"); }
__attribute__((weak)) bool eval_non_zero(sinter_eval *e) { return sinter_eval_error(e, "missing"); }
__attribute__((weak)) bool eval_optional(sinter_eval *e) { return sinter_eval_error(e, "missing"); }
__attribute__((weak)) bool eval_optional_get_element(sinter_eval *e) { return sinter_eval_error(e, "missing"); }
__attribute__((weak)) bool eval_optional_has_element(sinter_eval *e) { return sinter_eval_error(e, "missing"); }
__attribute__((weak)) bool eval_regex_full_match(sinter_eval *e) { return sinter_eval_error(e, "missing"); }
__attribute__((weak)) bool eval_rnn(sinter_eval *e) { return sinter_eval_error(e, "missing"); }
__attribute__((weak)) bool eval_roi_align(sinter_eval *e) { return sinter_eval_error(e, "missing"); }
__attribute__((weak)) bool eval_scan(sinter_eval *e) { return sinter_eval_error(e, "missing"); }
__attribute__((weak)) bool eval_sequence_at(sinter_eval *e) { return sinter_eval_error(e, "missing"); }
__attribute__((weak)) bool eval_sequence_construct(sinter_eval *e) { return sinter_eval_error(e, "missing"); }
__attribute__((weak)) bool eval_sequence_empty(sinter_eval *e) { return sinter_eval_error(e, "missing"); }
__attribute__((weak)) bool eval_sequence_erase(sinter_eval *e) { return sinter_eval_error(e, "missing"); }
__attribute__((weak)) bool eval_sequence_insert(sinter_eval *e) { return sinter_eval_error(e, "missing"); }
__attribute__((weak)) bool eval_sequence_length(sinter_eval *e) { return sinter_eval_error(e, "missing"); }
__attribute__((weak)) bool eval_sequence_map(sinter_eval *e) { return sinter_eval_error(e, "missing"); }
__attribute__((weak)) bool eval_split_to_sequence(sinter_eval *e) { return sinter_eval_error(e, "missing"); }
__attribute__((weak)) bool eval_stft(sinter_eval *e) { return sinter_eval_error(e, "missing"); }
__attribute__((weak)) bool eval_string_concat(sinter_eval *e) { return sinter_eval_error(e, "missing"); }
__attribute__((weak)) bool eval_string_normalizer(sinter_eval *e) { return sinter_eval_error(e, "missing"); }
__attribute__((weak)) bool eval_string_split(sinter_eval *e) { return sinter_eval_error(e, "missing"); }
__attribute__((weak)) bool eval_tfidf_vectorizer(sinter_eval *e) { return sinter_eval_error(e, "missing"); }
__attribute__((weak)) bool eval_top_k(sinter_eval *e) { return sinter_eval_error(e, "missing"); }
__attribute__((weak)) bool eval_tree_ensemble(sinter_eval *e) { return sinter_eval_error(e, "missing"); }
__attribute__((weak)) bool eval_unique(sinter_eval *e) { return sinter_eval_error(e, "missing"); }
__attribute__((weak)) bool eval_window_function(sinter_eval *e) { return sinter_eval_error(e, "missing"); }
__attribute__((weak)) sinter_engine *sinter_engine_load(const char *path, const sinter_engine_options *options, sinter_diag *diag) { (void)options; sinter_error(diag, path, "later"); return NULL; }
__attribute__((weak)) bool sinter_emit_c(const sinter_loop_program *program, sinter_text *text, sinter_diag *diag) { (void)program; (void)text; return sinter_error(diag, "", "later"); }
