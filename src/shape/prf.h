/*
 * prf.h
 *		A keyed pseudo-random function: HMAC-SHA-256.
 *
 * What is made of values with a secret is made by this.  The state after the
 * key is kept, so a short message costs two runs of the compression function;
 * the server's own HMAC would take the key anew for each message, and frees
 * what it has with the transaction.
 */
#ifndef FLO_PRF_H
#define FLO_PRF_H

#include "postgres.h"

#define FLO_PRF_SIZE 32
#define FLO_PRF_BLOCK 64

typedef struct FloPrf
{
	uint32		inner[8];
	uint32		outer[8];
} FloPrf;

/* A message on its way */
typedef struct FloPrfState
{
	const FloPrf *prf;
	uint32		state[8];
	uint64		total;			/* bytes, with the key's block */
	int			used;			/* of the block */
	uint8		block[FLO_PRF_BLOCK];
} FloPrfState;

/* Another purpose has another key: what is made for one says nothing of the other */
extern void flo_prf_init(FloPrf *prf, const void *secret, size_t len, const char *purpose);

extern void flo_prf_begin(FloPrfState *state, const FloPrf *prf);
extern void flo_prf_add(FloPrfState *state, const void *data, size_t len);
extern void flo_prf_end(FloPrfState *state, uint8 digest[FLO_PRF_SIZE]);

/* All of the message at once */
extern void flo_prf(const FloPrf *prf, const void *data, size_t len, uint8 digest[FLO_PRF_SIZE]);

/*
 * Numbers without end, made of a digest.  Each is below "bound" (at most 2^32)
 * and as likely as the others but for one part in 2^32 / bound.
 */
typedef struct FloPrfNumbers
{
	const FloPrf *prf;
	uint8		seed[FLO_PRF_SIZE];
	uint8		block[FLO_PRF_SIZE];
	int			used;
	uint32		count;
} FloPrfNumbers;

extern void flo_prf_numbers(FloPrfNumbers *numbers, FloPrfState *state);
extern uint32 flo_prf_next(FloPrfNumbers *numbers, uint64 bound);

#endif
