/* Layouts: a segmentation or an outline, told apart by looking. */
#include <stdlib.h>

#include "command.h"

/* A colour is no grey where its channels lie further apart; of so many pixels in a thousand it counts. */
enum { COLOURED = 64, COLOURED_SHARE = 2, BRIGHT = 128 };

static bool is_coloured(const uint8_t *p) {
    int high = p[0] > p[1] ? p[0] : p[1], low = p[0] < p[1] ? p[0] : p[1];
    high = high > p[2] ? high : p[2];
    low = low < p[2] ? low : p[2];
    return high - low > COLOURED;
}

/** Squares of `side` pixels wholly bright that end at each pixel of a row: the widest, from those of the row above. */
static void grow_squares(const cm3_image_view *view, int32_t y, int32_t *squares) {
    int32_t corner = 0; /* of the pixel above and to the left */
    for (int32_t x = 0; x < view->width; x++) {
        const uint8_t *p = view->pixels + (size_t)y * view->stride + 3 * (size_t)x;
        int32_t above = squares[x], left = x ? squares[x - 1] : 0, least = above < left ? above : left;
        least = least < corner ? least : corner;
        squares[x] = p[1] >= BRIGHT ? least + 1 : 0;
        corner = above;
    }
}

const char *cm3_layout_task(const cm3_image *image, const char **value) {
    cm3_image_view view;
    *value = "segmentation";
    if (cm3_image_get_view(image, &view) != CM3_OK) return "layout";
    int32_t *squares = calloc((size_t)view.width, sizeof *squares);
    size_t coloured = 0, bright = 0, thick = 0;
    /* A line is a 64th of the side; the narrowest part of anything whole is three times that. */
    int32_t most = (view.width < view.height ? view.width : view.height) / 28 + 1;
    for (int32_t y = 0; squares && y < view.height; y++) {
        for (int32_t x = 0; x < view.width; x++) {
            coloured += is_coloured(view.pixels + (size_t)y * view.stride + 3 * (size_t)x);
        }
        grow_squares(&view, y, squares);
        for (int32_t x = 0; x < view.width; x++) {
            bright += squares[x] > 0;
            thick += squares[x] >= most;
        }
    }
    free(squares);
    size_t area = (size_t)view.width * (size_t)view.height;
    bool outline = coloured * 1000 <= area * COLOURED_SHARE && bright && thick * 50 < bright;
    if (!outline) return "layout";
    *value = "outline";
    return "outline";
}
