/* The row-wise kernels of the portable table. */
#define CM3_ROWS_INSTALL cm3_ref_rows
#include "nn/ref/rows.inc"
