/*
 * prf.c
 *		A keyed pseudo-random function: HMAC-SHA-256 (FIPS 180-4, RFC 2104).
 */
#include "postgres.h"

#include "port/pg_bswap.h"
#include "shape/prf.h"

static const uint32 first_state[8] = {
	0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19
};

static const uint32 constants[64] = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
	0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
	0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
	0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
	0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2
};

/* --- SHA-256 ------------------------------------------------------------- */

static inline uint32
rotate(uint32 word, int by)
{
	return (word >> by) | (word << (32 - by));
}

static void
compress(uint32 state[8], const uint8 *block)
{
	uint32		w[64];
	uint32		s[8];

	for (int i = 0; i < 16; i++)
	{
		memcpy(&w[i], block + i * 4, 4);
		w[i] = pg_ntoh32(w[i]);
	}
	for (int i = 16; i < 64; i++)
	{
		uint32		a = rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ (w[i - 15] >> 3);
		uint32		b = rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ (w[i - 2] >> 10);

		w[i] = w[i - 16] + a + w[i - 7] + b;
	}
	memcpy(s, state, sizeof(s));
	for (int i = 0; i < 64; i++)
	{
		uint32		one = s[7] + (rotate(s[4], 6) ^ rotate(s[4], 11) ^ rotate(s[4], 25)) +
			((s[4] & s[5]) ^ (~s[4] & s[6])) + constants[i] + w[i];
		uint32		two = (rotate(s[0], 2) ^ rotate(s[0], 13) ^ rotate(s[0], 22)) +
			((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));

		s[7] = s[6];
		s[6] = s[5];
		s[5] = s[4];
		s[4] = s[3] + one;
		s[3] = s[2];
		s[2] = s[1];
		s[1] = s[0];
		s[0] = one + two;
	}
	for (int i = 0; i < 8; i++)
		state[i] += s[i];
}

static void
add(uint32 state[8], uint8 *block, int *used, const uint8 *data, size_t len)
{
	while (len > 0)
	{
		size_t		n = Min(len, (size_t) (FLO_PRF_BLOCK - *used));

		memcpy(block + *used, data, n);
		*used += n;
		data += n;
		len -= n;
		if (*used == FLO_PRF_BLOCK)
		{
			compress(state, block);
			*used = 0;
		}
	}
}

static void
finish(uint32 state[8], uint8 *block, int used, uint64 total, uint8 digest[FLO_PRF_SIZE])
{
	uint64		bits = pg_hton64(total * 8);

	block[used++] = 0x80;
	if (used > FLO_PRF_BLOCK - 8)
	{
		memset(block + used, 0, FLO_PRF_BLOCK - used);
		compress(state, block);
		used = 0;
	}
	memset(block + used, 0, FLO_PRF_BLOCK - 8 - used);
	memcpy(block + FLO_PRF_BLOCK - 8, &bits, 8);
	compress(state, block);
	for (int i = 0; i < 8; i++)
	{
		uint32		word = pg_hton32(state[i]);

		memcpy(digest + i * 4, &word, 4);
	}
}

/* --- HMAC ---------------------------------------------------------------- */

static void
pad_state(uint32 state[8], const uint8 *key, uint8 pad)
{
	uint8		block[FLO_PRF_BLOCK];

	for (int i = 0; i < FLO_PRF_BLOCK; i++)
		block[i] = key[i] ^ pad;
	memcpy(state, first_state, sizeof(first_state));
	compress(state, block);
}

static void
set_key(FloPrf *prf, const uint8 *secret, size_t len)
{
	uint8		key[FLO_PRF_BLOCK] = {0};

	if (len <= FLO_PRF_BLOCK)
		memcpy(key, secret, len);
	else
	{
		uint32		state[8];
		uint8		block[FLO_PRF_BLOCK];
		int			used = 0;

		memcpy(state, first_state, sizeof(state));
		add(state, block, &used, secret, len);
		finish(state, block, used, len, key);
	}
	pad_state(prf->inner, key, 0x36);
	pad_state(prf->outer, key, 0x5c);
}

void
flo_prf_init(FloPrf *prf, const void *secret, size_t len, const char *purpose)
{
	uint8		key[FLO_PRF_SIZE];

	set_key(prf, secret, len);
	flo_prf(prf, purpose, strlen(purpose), key);
	set_key(prf, key, sizeof(key));
}

void
flo_prf_begin(FloPrfState *state, const FloPrf *prf)
{
	state->prf = prf;
	memcpy(state->state, prf->inner, sizeof(state->state));
	state->total = FLO_PRF_BLOCK;
	state->used = 0;
}

void
flo_prf_add(FloPrfState *state, const void *data, size_t len)
{
	add(state->state, state->block, &state->used, data, len);
	state->total += len;
}

void
flo_prf_end(FloPrfState *state, uint8 digest[FLO_PRF_SIZE])
{
	finish(state->state, state->block, state->used, state->total, digest);
	memcpy(state->state, state->prf->outer, sizeof(state->state));
	memcpy(state->block, digest, FLO_PRF_SIZE);
	finish(state->state, state->block, FLO_PRF_SIZE, FLO_PRF_BLOCK + FLO_PRF_SIZE, digest);
}

void
flo_prf(const FloPrf *prf, const void *data, size_t len, uint8 digest[FLO_PRF_SIZE])
{
	FloPrfState state;

	flo_prf_begin(&state, prf);
	flo_prf_add(&state, data, len);
	flo_prf_end(&state, digest);
}

/* --- numbers ------------------------------------------------------------- */

/* The first block is the digest itself, the others are made of it and a count */
void
flo_prf_numbers(FloPrfNumbers *numbers, FloPrfState *state)
{
	numbers->prf = state->prf;
	flo_prf_end(state, numbers->seed);
	memcpy(numbers->block, numbers->seed, FLO_PRF_SIZE);
	numbers->used = 0;
	numbers->count = 0;
}

uint32
flo_prf_next(FloPrfNumbers *numbers, uint64 bound)
{
	uint32		word;

	if (numbers->used == FLO_PRF_SIZE)
	{
		uint32		count = pg_hton32(++numbers->count);
		FloPrfState state;

		flo_prf_begin(&state, numbers->prf);
		flo_prf_add(&state, numbers->seed, FLO_PRF_SIZE);
		flo_prf_add(&state, &count, sizeof(count));
		flo_prf_end(&state, numbers->block);
		numbers->used = 0;
	}
	memcpy(&word, numbers->block + numbers->used, sizeof(word));
	numbers->used += sizeof(word);
	return (uint32) (pg_ntoh32(word) % bound);
}
