/*
 * encoding.h
 *		The encoding of the text that arrives.
 */
#ifndef FLO_ENCODING_H
#define FLO_ENCODING_H

#include "wire/change.h"

/* Take text of this encoding from now on; fails for good where it cannot be converted */
extern void flo_follow_encoding(FloChangeParser *parser, int encoding);

#endif
