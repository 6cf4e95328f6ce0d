/*
 * permute.h
 *		Keyed permutations of small sets: other values of the same form, no two
 *		alike.
 */
#ifndef FLO_PERMUTE_H
#define FLO_PERMUTE_H

#include "shape/prf.h"

/* One place of a value: a digit below its radix, which is at most 2^32 */
typedef struct FloDigit
{
	uint32		digit;
	uint64		radix;
} FloDigit;

/*
 * Permute the values that these digits with these radices can have.  Values
 * with another "form", or with other radices, are permuted on their own.
 */
extern void flo_permute(const FloPrf *prf, const void *form, size_t form_len,
						FloDigit *digits, int count);

/* The same for the numbers below "size", which is at least 1 and at most 2^63 */
extern uint64 flo_permute_number(const FloPrf *prf, const void *form, size_t form_len,
								 uint64 number, uint64 size);

#endif
