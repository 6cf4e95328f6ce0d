/*
 * permute.c
 *		Keyed permutations of small sets.
 *
 * A Feistel network.  The digits are cut into two halves; in each round one half
 * is shifted, digit by digit and modulo its radix, by pseudo-random numbers made
 * of the other half (and of the round, the form and the radices):
 *
 *		left  := left  + F(0, right)
 *		right := right + F(1, left)
 *		left  := left  + F(2, right) ...
 *
 * Each round can be taken back by whoever knows the key, as the half that F looks
 * at is still there; so whatever F is, no two values come out as the same one.
 * There are ten rounds, as in NIST's FF1 (SP 800-38G), which does the same with
 * one big number for each half where we have digits of different radices: a
 * licence plate keeps its letters and digits where they are.
 *
 * Numbers below a size that is no product are written as two digits whose radices
 * have a product just above it.  A result that is not below the size is permuted
 * again until one is ("cycle walking"): the number began in the set, so the cycle
 * comes back into it, and two numbers meet the set at different places.  The
 * product is less than twice the size for any size above 2, so this takes
 * few steps.
 *
 * What a permutation cannot give: a set of ten values has ten pseudonyms.  Whoever
 * sees a few pairs of a small set knows much of the rest.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "shape/permute.h"

#define ROUNDS 10

/* What is the same in all rounds: whose values are permuted among themselves */
static void
add_form(FloPrfState *state, const void *form, size_t form_len, const FloDigit *digits, int count)
{
	uint64		len = pg_hton64((uint64) form_len);

	flo_prf_add(state, &len, sizeof(len));
	flo_prf_add(state, form, form_len);
	for (int i = 0; i < count; i++)
	{
		uint32		highest = pg_hton32((uint32) (digits[i].radix - 1));

		flo_prf_add(state, &highest, sizeof(highest));
	}
}

static void
add_digits(FloPrfState *state, const FloDigit *digits, int count)
{
	for (int i = 0; i < count; i++)
	{
		uint32		digit = pg_hton32(digits[i].digit);

		/* as many bytes as its radix needs, at most one or four */
		if (digits[i].radix <= 256)
			flo_prf_add(state, (uint8 *) &digit + 3, 1);
		else
			flo_prf_add(state, &digit, sizeof(digit));
	}
}

void
flo_permute(const FloPrf *prf, const void *form, size_t form_len, FloDigit *digits, int count)
{
	int			middle = count / 2;
	FloPrfState begun;

	flo_prf_begin(&begun, prf);
	add_form(&begun, form, form_len, digits, count);
	for (uint8 round = 0; round < ROUNDS; round++)
	{
		FloDigit   *shifted = round % 2 == 0 ? digits : digits + middle;
		FloDigit   *seen = round % 2 == 0 ? digits + middle : digits;
		int			nshifted = round % 2 == 0 ? middle : count - middle;
		FloPrfState state = begun;
		FloPrfNumbers numbers;

		CHECK_FOR_INTERRUPTS();
		flo_prf_add(&state, &round, sizeof(round));
		add_digits(&state, seen, count - nshifted);
		flo_prf_numbers(&numbers, &state);
		for (int i = 0; i < nshifted; i++)
			shifted[i].digit = ((uint64) shifted[i].digit +
								flo_prf_next(&numbers, shifted[i].radix)) % shifted[i].radix;
	}
}

/* The smallest number whose square is not below "size" */
static uint64
root(uint64 size)
{
	uint64		low = 1;
	uint64		high = UINT64CONST(1) << 32;

	while (low < high)
	{
		uint64		middle = low + (high - low) / 2;

		if (middle >= (UINT64CONST(1) << 32) || middle * middle >= size)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

uint64
flo_permute_number(const FloPrf *prf, const void *form, size_t form_len,
				   uint64 number, uint64 size)
{
	uint64		a = root(size);
	uint64		b = (size + a - 1) / a;

	Assert(size >= 1 && size <= UINT64CONST(1) << 63 && number < size);
	do
	{
		FloDigit	digits[2] = {{number / b, a}, {number % b, b}};

		flo_permute(prf, form, form_len, digits, 2);
		number = digits[0].digit * b + digits[1].digit;
	} while (number >= size);
	return number;
}
