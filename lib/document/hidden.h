/* What boxes hide of a picture. */
#ifndef CM3_DOCUMENT_HIDDEN_H
#define CM3_DOCUMENT_HIDDEN_H

#include "document/segments.h"

/** Whether a token's square, column x and row y of `grid`, is touched by a box: boxes are in fractions of the picture,
 * of which the tokenizer sees the square in the middle. */
bool cm3_is_hidden(const cm3_segment_data *segment, int32_t x, int32_t y, int32_t grid);

/**
 * The picture with its boxes painted over from what is around them, so that the codes beside a box do not hang on what
 * it hides: a straight line between the ends of a row, or of a column where a row is hidden from end to end. *image is
 * the caller's.
 */
cm3_status cm3_paint_over(cm3_context *context, const cm3_segment_data *segment, cm3_image **image);

#endif
