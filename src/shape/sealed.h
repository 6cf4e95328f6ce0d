/*
 * sealed.h
 *		Values that whoever has the secret can read again, and nobody else.
 *
 * Deterministic, as SIV (RFC 5297): the same value and secret give the same
 * text.  That two values are alike can therefore be seen; nothing else can but
 * the length.
 */
#ifndef FLO_SEALED_H
#define FLO_SEALED_H

#include "shape/prf.h"

typedef struct FloSealer
{
	FloPrf		tag;
	FloPrf		stream;
} FloSealer;

extern void flo_sealer_init(FloSealer *sealer, const void *secret, size_t len);

/* Text of A-Z, a-z, 0-9, - and _; palloc'd */
extern char *flo_seal(const FloSealer *sealer, const char *value, int len);

/* NULL when it was not made with this secret, or has been changed; palloc'd */
extern char *flo_unseal(const FloSealer *sealer, const char *sealed, int len, int *value_len);

#endif
