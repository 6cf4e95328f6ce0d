/*
 * rowkey.h
 *		The key of a row, for error messages.
 */
#ifndef FLO_ROWKEY_H
#define FLO_ROWKEY_H

#include "wire/change.h"

/*
 * "(id)=(7)", in a buffer that the next call overwrites; NULL when the row has
 * no key.  Looks nothing up and never throws.
 */
extern const char *flo_row_key(const FloChange *change);

#endif
