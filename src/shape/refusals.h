/*
 * refusals.h
 *		What rules do not do, and what is said of it.
 */
#ifndef FLO_REFUSALS_H
#define FLO_REFUSALS_H

#include "shape/rules.h"

/* A filter needs a value that was not sent */
extern void flo_refuse_unknown(const FloRule *rule);

/* Throw when the rule cannot make the key of a row that is changed or deleted */
extern void flo_refuse_mixed_key(const FloRule *rule, const FloChange *change);

/* In PG_CATCH(), in a memory context of the caller's: the rules of a row took too long */
extern void flo_refuse_slow(void);

/* There, too: throw an error of the same code that shows no value, if the one at hand may */
extern void flo_refuse_value(void);

/* Throw when rows of a partition that was truncated alone cannot be told from others */
extern void flo_refuse_part(FloRule *const *rules, int count, const FloTruncated *truncated);

#endif
