/* What boxes hide of a picture. */
#include "document/hidden.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "base/status.h"

bool cm3_is_hidden(const cm3_segment_data *segment, int32_t x, int32_t y, int32_t grid) {
    cm3_image_view view;
    if (cm3_image_get_view(segment->image, &view) != CM3_OK) return false;
    double side = view.width < view.height ? view.width : view.height, cell = side / grid;
    double left = (view.width - side) / 2 + x * cell, top = (view.height - side) / 2 + y * cell, least = 1e-6 * side;
    for (size_t i = 0; i < segment->box_count; i++) {
        const cm3_box *b = &segment->boxes[i];
        double x0 = (double)b->x * view.width, y0 = (double)b->y * view.height;
        double x1 = x0 + (double)b->width * view.width, y1 = y0 + (double)b->height * view.height;
        bool touches = x0 < left + cell - least && x1 > left + least && y0 < top + cell - least && y1 > top + least;
        if (touches && x1 > x0 && y1 > y0) return true;
    }
    return false;
}

/** A fraction of a side as a pixel's edge, clamped to the picture. */
static int32_t edge(double fraction, int32_t side, bool upward) {
    double at = upward ? ceil(fraction * side - 1e-6) : floor(fraction * side + 1e-6);
    return at < 0 ? 0 : at > side ? side : (int32_t)at;
}

/** Marks the pixels that boxes touch. */
static void mark_boxes(const cm3_segment_data *segment, const cm3_image_view *view, uint8_t *hidden) {
    for (size_t i = 0; i < segment->box_count; i++) {
        const cm3_box *b = &segment->boxes[i];
        int32_t x0 = edge((double)b->x, view->width, false), y0 = edge((double)b->y, view->height, false);
        int32_t x1 = edge((double)b->x + (double)b->width, view->width, true);
        int32_t y1 = edge((double)b->y + (double)b->height, view->height, true);
        for (int32_t y = y0; y < y1 && x1 > x0; y++) {
            memset(hidden + (size_t)y * (size_t)view->width + x0, 1, (size_t)(x1 - x0));
        }
    }
}

/** One row or column: `count` pixels, `step` bytes apart, their marks `mark_step` apart. A run of hidden ones becomes a
 * line between its neighbours; without any neighbour it stays hidden. */
static void bridge(uint8_t *pixels, size_t step, uint8_t *hidden, size_t mark_step, int32_t count) {
    for (int32_t first = 0; first < count; first++) {
        if (!hidden[(size_t)first * mark_step]) continue;
        int32_t end = first;
        while (end < count && hidden[(size_t)end * mark_step]) end++;
        if (first == 0 && end == count) return;
        const uint8_t *before = pixels + (size_t)(first ? first - 1 : end) * step;
        const uint8_t *behind = pixels + (size_t)(end < count ? end : first - 1) * step;
        for (int32_t i = first; i < end; i++) {
            float share = (float)(i - first + 1) / (float)(end - first + 1);
            for (int c = 0; c < 3; c++) {
                float value = (float)before[c] + share * (float)(behind[c] - before[c]);
                pixels[(size_t)i * step + (size_t)c] = (uint8_t)(value + 0.5f);
            }
            hidden[(size_t)i * mark_step] = 0;
        }
        first = end - 1;
    }
}

cm3_status cm3_paint_over(cm3_context *context, const cm3_segment_data *segment, cm3_image **image) {
    cm3_image_view view;
    *image = NULL;
    CM3_TRY(cm3_image_get_view(segment->image, &view));
    size_t width = (size_t)view.width, height = (size_t)view.height;
    uint8_t *hidden = cm3_calloc(context, width * height, 1);
    if (!hidden) return cm3_fail_memory(context, width * height, "the boxes of a picture");
    cm3_status status = cm3_image_from_pixels(context, view.pixels, view.width, view.height, view.stride, image);
    if (status == CM3_OK) status = cm3_image_get_view(*image, &view);
    if (status == CM3_OK) {
        mark_boxes(segment, &view, hidden);
        for (size_t y = 0; y < height; y++) {
            bridge(view.pixels + y * view.stride, 3, hidden + y * width, 1, view.width);
        }
        for (size_t x = 0; x < width; x++) bridge(view.pixels + 3 * x, view.stride, hidden + x, width, view.height);
    }
    cm3_free(context, hidden);
    if (status != CM3_OK) {
        cm3_image_destroy(*image);
        *image = NULL;
    }
    return status;
}
