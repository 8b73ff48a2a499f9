/* The symmetric contrastive loss. */
#include "train/contrastive.h"

#include <math.h>
#include <string.h>

void cm3_unit_rows(const float *x, int64_t count, int64_t d, float *unit, float *lengths) {
    for (int64_t i = 0; i < count; i++) {
        double sum = 0;
        for (int64_t j = 0; j < d; j++) sum += (double)x[i * d + j] * (double)x[i * d + j];
        lengths[i] = sum > 0 ? (float)sqrt(sum) : 1;
        for (int64_t j = 0; j < d; j++) unit[i * d + j] = x[i * d + j] / lengths[i];
    }
}

void cm3_unit_rows_back(const float *du, const float *unit, const float *lengths, int64_t count, int64_t d,
                        float weight, float *dx) {
    for (int64_t i = 0; i < count; i++) {
        double along = 0;
        for (int64_t j = 0; j < d; j++) along += (double)du[i * d + j] * (double)unit[i * d + j];
        for (int64_t j = 0; j < d; j++) {
            dx[i * d + j] += weight * (du[i * d + j] - unit[i * d + j] * (float)along) / lengths[i];
        }
    }
}

/** Softmax of each row of `scores`, read with these strides, less 1 at its own: added to `to`, which has the same
 * strides. Returns the sum of the rows' losses. */
static double add_softmax(const float *scores, float *to, int64_t count, int64_t row, int64_t column, float factor,
                          double *best) {
    double loss = 0;
    for (int64_t i = 0; i < count; i++) {
        const float *s = scores + i * row;
        float most = s[0];
        int64_t first = 0;
        for (int64_t j = 1; j < count; j++) {
            if (s[j * column] <= most) continue;
            most = s[j * column];
            first = j;
        }
        double sum = 0;
        for (int64_t j = 0; j < count; j++) sum += exp((double)(s[j * column] - most));
        for (int64_t j = 0; j < count; j++) {
            const double p = exp((double)(s[j * column] - most)) / sum;
            to[i * row + j * column] += factor * (float)(p - (i == j));
        }
        loss += log(sum) + (double)most - (double)s[i * column];
        if (best) *best += first == i;
    }
    return loss;
}

cm3_status cm3_contrastive_loss(cm3_graph *graph, const cm3_contrastive *pairs, float weight, float *da, float *db,
                                cm3_contrastive_result *result) {
    const int64_t n = pairs->count, d = pairs->d;
    const cm3_kernels *kernels = graph->kernels;
    *result = (cm3_contrastive_result){0};
    float *u = cm3_graph_scratch(graph, (size_t)(n * d) * sizeof *u),
          *v = cm3_graph_scratch(graph, (size_t)(n * d) * sizeof *v);
    float *du = cm3_graph_scratch(graph, (size_t)(n * d) * sizeof *du);
    float *lengths = cm3_graph_scratch(graph, (size_t)(2 * n) * sizeof *lengths);
    float *scores = cm3_graph_scratch(graph, (size_t)(n * n) * sizeof *scores);
    float *ds = cm3_graph_scratch(graph, (size_t)(n * n) * sizeof *ds);
    if (!u || !v || !du || !lengths || !scores || !ds) return cm3_graph_status(graph);
    cm3_unit_rows(pairs->a, n, d, u, lengths);
    cm3_unit_rows(pairs->b, n, d, v, lengths + n);
    kernels->gemm_f32(scores, n, u, d, 1, v, 1, d, n, n, d, false);
    kernels->scale(scores, pairs->scale, scores, n * n);
    memset(ds, 0, (size_t)(n * n) * sizeof *ds);
    const float share = 0.5f / (float)n;
    double rows = add_softmax(scores, ds, n, n, 1, share, &result->recall);
    double columns = add_softmax(scores, ds, n, 1, n, share, NULL);
    result->loss = (rows + columns) * (double)share;
    result->recall /= (double)n;
    if (!da) return CM3_OK;
    for (int64_t i = 0; i < n * n; i++) result->dscale += (double)weight * (double)ds[i] * (double)scores[i];
    kernels->scale(ds, pairs->scale, ds, n * n);
    kernels->gemm_f32(du, d, ds, n, 1, v, d, 1, n, d, n, false);
    cm3_unit_rows_back(du, u, lengths, n, d, weight, da);
    kernels->gemm_f32(du, d, ds, 1, n, u, d, 1, n, d, n, false);
    cm3_unit_rows_back(du, v, lengths + n, n, d, weight, db);
    return CM3_OK;
}
