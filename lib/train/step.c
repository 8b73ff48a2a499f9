/*
 * One optimiser step, and one pass over the validation data, of one or more ranks.
 *
 * All ranks make the same calls to each other in the same order: those of their micro-steps, the buckets, the sums of
 * what the step tells, and new weights. One that fails skips to the next point of agreement: trainer->points tells
 * whether that lies before the buckets or behind them (see agreement.h).
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/status.h"
#include "train/agreement.h"
#include "train/trainer.h"

#define TERMS 12

/** What a step measures as a mean over its micro-steps. */
static void list_terms(cm3_train_report *r, double *terms[TERMS]) {
    double *const all[TERMS] = {&r->loss,          &r->l1,        &r->l2,         &r->commitment, &r->adversarial,
                                &r->discriminator, &r->text_loss, &r->image_loss, &r->code_usage, &r->recall,
                                &r->query_recall,  &r->scale};
    memcpy(terms, all, sizeof all);
}

cm3_share cm3_trainer_share(const cm3_trainer *trainer) {
    const cm3_comm *comm = &trainer->ranks.comm;
    const int32_t all = trainer->options.accumulation, own = all / comm->size;
    if (trainer->kind->splits_batches) return (cm3_share){all, 0, all};
    return (cm3_share){all, comm->rank * own, own};
}

/** What stopped a pass has no message of its own. */
static cm3_status name_cancelled(const cm3_trainer *trainer, cm3_status status) {
    return status == CM3_ERROR_CANCELLED ? cm3_fail(trainer->context, status, "the call was cancelled") : status;
}

cm3_status cm3_trainer_agree(cm3_trainer *trainer, cm3_status own) {
    if (cm3_ranks_alone(&trainer->ranks)) return own;
    trainer->points--;
    return cm3_ranks_agree(&trainer->ranks, name_cancelled(trainer, own));
}

/* --- a step's parts -------------------------------------------------------------------------------------------------
 */

/** This rank's micro-steps. */
static cm3_status learn(cm3_trainer *trainer, cm3_train_report *report) {
    const cm3_share share = cm3_trainer_share(trainer);
    for (int32_t i = 0; i < share.count; i++) {
        void *batch = NULL;
        CM3_TRY(cm3_prefetch_next(trainer->prefetch, &batch, &trainer->position));
        cm3_graph_reset(trainer->graph);
        trainer->graph->cancel = &trainer->cancelled;
        trainer->micro = share.first + i;
        trainer->last_micro = i == share.count - 1;
        CM3_TRY(trainer->kind->micro_step(trainer, batch, report));
    }
    return CM3_OK;
}

/** What all ranks have to sum up of a step. */
typedef struct cm3_step_sums {
    double terms[TERMS], samples, tokens, squares[2], failures;
} cm3_step_sums;

/** The sums over all ranks; or the failure of one, on all. */
static cm3_status sum_up(cm3_trainer *trainer, cm3_status own, cm3_step_sums *sums) {
    sums->failures = own != CM3_OK;
    if (own == CM3_OK) {
        sums->squares[0] = cm3_optimizer_squares(&trainer->optimizer, trainer->graph->kernels);
        if (trainer->second_learns) sums->squares[1] = cm3_optimizer_squares(trainer->second, trainer->graph->kernels);
    }
    CM3_TRY(cm3_ranks_reduce(&trainer->ranks, sums, sizeof *sums / sizeof(double), CM3_COMM_F64, CM3_COMM_SUM));
    return sums->failures == 0 ? CM3_OK : cm3_ranks_agree(&trainer->ranks, name_cancelled(trainer, own));
}

/** The first rank whose own loss is not finite; -1: none's, or this process is alone, or all have the same. */
static cm3_status find_culprit(cm3_trainer *trainer, bool finite, int64_t *rank) {
    *rank = -1;
    if (cm3_ranks_alone(&trainer->ranks) || trainer->kind->splits_batches) return CM3_OK;
    uint64_t first = finite ? UINT64_MAX : (uint64_t)trainer->ranks.comm.rank;
    CM3_TRY(cm3_ranks_reduce(&trainer->ranks, &first, 1, CM3_COMM_U64, CM3_COMM_MIN));
    if (first != UINT64_MAX) *rank = (int64_t)first;
    return CM3_OK;
}

/** A step whose numbers are no use: left out, or the end of the run. */
static cm3_status leave_out(cm3_trainer *trainer, const char *what, int64_t culprit) {
    char where[32] = "";
    if (culprit >= 0) snprintf(where, sizeof where, "rank %lld: ", (long long)culprit);
    const long long step = (long long)trainer->optimizer.step + 1;
    if (trainer->skipped >= trainer->options.skip_steps) {
        const char *often = trainer->skipped ? ", and so were those before it" : "";
        return cm3_fail(trainer->context, CM3_ERROR_FORMAT, "%sstep %lld: %s is not finite%s", where, step, what,
                        often);
    }
    /* All ranks know it; one says so. */
    if (trainer->ranks.comm.rank == 0) {
        cm3_log(trainer->context, CM3_LOG_WARNING, "%sstep %lld is left out: %s is not finite", where, step, what);
    }
    trainer->skipped++;
    cm3_optimizer_skip(&trainer->optimizer, trainer->graph);
    if (trainer->second_learns) cm3_optimizer_skip(trainer->second, trainer->graph);
    if (trainer->kind->left_out) trainer->kind->left_out(trainer);
    return CM3_OK;
}

static cm3_status update(cm3_trainer *trainer, double norm, double second_norm, cm3_train_report *report) {
    trainer->skipped = 0;
    if (trainer->kind->before_update) CM3_TRY(trainer->kind->before_update(trainer, report));
    CM3_TRY(cm3_optimizer_apply(&trainer->optimizer, trainer->graph, norm));
    return trainer->second_learns ? cm3_optimizer_apply(trainer->second, trainer->graph, second_norm) : CM3_OK;
}

/** Means of all ranks, and the update where they are finite. `own_loss`: of this rank. */
static cm3_status conclude(cm3_trainer *trainer, const cm3_step_sums *sums, double own_loss, cm3_train_report *report) {
    double *terms[TERMS];
    list_terms(report, terms);
    for (int i = 0; i < TERMS; i++) *terms[i] = sums->terms[i] * (1.0 / trainer->options.accumulation);
    report->lr = cm3_learning_rate(&trainer->options, trainer->optimizer.step);
    report->grad_norm = cm3_optimizer_norm(&trainer->optimizer, sums->squares[0]);
    const double second = trainer->second_learns ? cm3_optimizer_norm(trainer->second, sums->squares[1]) : 0;
    const char *what = !isfinite(report->loss)        ? "the loss"
                       : !isfinite(report->grad_norm) ? "the gradient"
                       : !isfinite(second)            ? "the discriminator's gradient"
                                                      : NULL;
    if (!what) return update(trainer, report->grad_norm, second, report);
    int64_t culprit;
    CM3_TRY(find_culprit(trainer, isfinite(own_loss), &culprit));
    return leave_out(trainer, what, culprit);
}

cm3_status cm3_trainer_compute_step(cm3_trainer *trainer, cm3_train_report *report) {
    cm3_ranks *ranks = &trainer->ranks;
    const uint64_t samples = trainer->samples, tokens = trainer->tokens;
    cm3_step_sums sums = {.failures = 0};
    double *terms[TERMS], waited;
    ranks->waited = 0;
    trainer->points = 0;
    trainer->second_learns = false;
    if (trainer->kind->begin_step) trainer->kind->begin_step(trainer);
    cm3_buckets_begin(trainer->buckets, trainer->second_learns);
    cm3_status status = learn(trainer, report);
    trainer->last_micro = false;
    if (status != CM3_OK && trainer->points > 0 && !ranks->settled) status = cm3_trainer_agree(trainer, status);
    if (status != CM3_OK && (ranks->settled || atomic_load(&ranks->broken))) return status;
    CM3_TRY(cm3_buckets_finish(trainer->buckets, trainer->graph, &waited, &report->reduce_seconds));
    list_terms(report, terms);
    for (int i = 0; i < TERMS; i++) sums.terms[i] = *terms[i];
    sums.samples = (double)(trainer->samples - samples);
    sums.tokens = (double)(trainer->tokens - tokens);
    const double own_loss = report->loss;
    CM3_TRY(sum_up(trainer, status, &sums));
    trainer->samples = samples + (uint64_t)sums.samples;
    trainer->tokens = tokens + (uint64_t)sums.tokens;
    status = conclude(trainer, &sums, own_loss, report);
    report->comm_seconds = cm3_ranks_alone(ranks) ? 0 : waited + ranks->waited;
    report->skipped = trainer->skipped;
    return status;
}

/* --- validation -----------------------------------------------------------------------------------------------------
 */

/** This rank's share of the batches; *batches: all there are. */
static cm3_status measure_all(cm3_trainer *trainer, void *memory, cm3_train_report *report, uint64_t *batches) {
    const cm3_comm *comm = &trainer->ranks.comm;
    uint64_t position = 0;
    for (*batches = 0; position < trainer->validation->count; ++*batches) {
        const bool own = trainer->kind->splits_batches || *batches % (uint64_t)comm->size == (uint64_t)comm->rank;
        CM3_TRY(trainer->kind->maker(trainer, trainer->validation, &position, own ? memory : NULL));
        if (!own) continue;
        cm3_graph_reset(trainer->graph);
        CM3_TRY(trainer->kind->measure(trainer, memory, report));
    }
    return CM3_OK;
}

static cm3_status measure(cm3_trainer *trainer, cm3_train_report *report) {
    double *terms[TERMS], sums[TERMS];
    uint64_t batches = 0;
    void *memory = cm3_alloc(trainer->context, trainer->batch_bytes);
    cm3_status status = memory ? measure_all(trainer, memory, report, &batches)
                               : cm3_fail_memory(trainer->context, trainer->batch_bytes, "validation");
    cm3_free(trainer->context, memory);
    if (!trainer->ranks.settled) status = cm3_ranks_agree(&trainer->ranks, name_cancelled(trainer, status));
    CM3_TRY(status);
    list_terms(report, terms);
    for (int i = 0; i < TERMS; i++) sums[i] = *terms[i];
    CM3_TRY(cm3_ranks_reduce(&trainer->ranks, sums, TERMS, CM3_COMM_F64, CM3_COMM_SUM));
    for (int i = 0; i < TERMS; i++) *terms[i] = batches ? sums[i] / (double)batches : 0;
    return CM3_OK;
}

cm3_status cm3_trainer_compute_validation(cm3_trainer *trainer, cm3_train_report *report) {
    const cm3_kernels *kernels = trainer->graph->kernels;
    trainer->ranks.settled = false;
    trainer->graph->record = false;
    trainer->graph->cancel = &trainer->cancelled;
    cm3_status status = cm3_optimizer_swap_average(&trainer->optimizer, kernels);
    if (status == CM3_OK) status = measure(trainer, report);
    trainer->graph->record = true;
    cm3_graph_reset(trainer->graph);
    cm3_status back = cm3_optimizer_swap_average(&trainer->optimizer, kernels);
    trainer->ranks.settled = false;
    return status == CM3_OK ? back : status;
}
