/*
 * sealed.c
 *		Values that whoever has the secret can read again, and nobody else.
 *
 * The first half of the value's HMAC is tag and starting value at once; the value
 * is combined with a stream made of it with another key.  Reading makes the tag
 * anew: what does not have it was not made with this secret.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "shape/sealed.h"

#define TAG_SIZE 16

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

void
flo_sealer_init(FloSealer *sealer, const void *secret, size_t len)
{
	flo_prf_init(&sealer->tag, secret, len, "pg_flo encrypt tag");
	flo_prf_init(&sealer->stream, secret, len, "pg_flo encrypt stream");
}

static void
make_tag(const FloSealer *sealer, const uint8 *value, int len, uint8 *tag)
{
	uint8		digest[FLO_PRF_SIZE];

	flo_prf(&sealer->tag, value, len, digest);
	memcpy(tag, digest, TAG_SIZE);
}

static void
combine(const FloSealer *sealer, const uint8 *tag, uint8 *data, int len)
{
	for (int at = 0; at < len; at += FLO_PRF_SIZE)
	{
		uint32		block = pg_hton32((uint32) (at / FLO_PRF_SIZE));
		uint8		stream[FLO_PRF_SIZE];
		FloPrfState state;

		CHECK_FOR_INTERRUPTS();
		flo_prf_begin(&state, &sealer->stream);
		flo_prf_add(&state, tag, TAG_SIZE);
		flo_prf_add(&state, &block, sizeof(block));
		flo_prf_end(&state, stream);
		for (int i = 0; i < Min(FLO_PRF_SIZE, len - at); i++)
			data[at + i] ^= stream[i];
	}
}

char *
flo_seal(const FloSealer *sealer, const char *value, int len)
{
	int			size = TAG_SIZE + len;
	uint8	   *data = palloc(size + 2);
	char	   *text = palloc((Size) size / 3 * 4 + 5);
	char	   *to = text;

	make_tag(sealer, (const uint8 *) value, len, data);
	memcpy(data + TAG_SIZE, value, len);
	combine(sealer, data, data + TAG_SIZE, len);
	data[size] = data[size + 1] = 0;
	for (int i = 0; i < size; i += 3)
	{
		uint32		bits = data[i] << 16 | data[i + 1] << 8 | data[i + 2];
		int			characters = Min(size - i, 3) + 1;

		for (int c = 0; c < characters; c++)
			*to++ = alphabet[bits >> (18 - 6 * c) & 63];
	}
	*to = '\0';
	pfree(data);
	return text;
}

static bool
read_text(const char *text, int len, uint8 *data, int *size)
{
	uint32		bits = 0;
	int			nbits = 0;

	*size = 0;
	for (int i = 0; i < len; i++)
	{
		const char *found = text[i] != '\0' ? strchr(alphabet, text[i]) : NULL;

		if (found == NULL)
			return false;
		bits = (bits << 6 | (uint32) (found - alphabet)) & 0xFFFF;
		nbits += 6;
		if (nbits >= 8)
		{
			nbits -= 8;
			data[(*size)++] = (uint8) (bits >> nbits);
		}
	}
	/* one text for each value: what is left over is zero */
	return len % 4 != 1 && (bits & ((1 << nbits) - 1)) == 0;
}

char *
flo_unseal(const FloSealer *sealer, const char *sealed, int len, int *value_len)
{
	uint8	   *data = palloc(len + 1);
	uint8		tag[TAG_SIZE];
	int			size;

	if (!read_text(sealed, len, data, &size) || size < TAG_SIZE)
		return NULL;
	combine(sealer, data, data + TAG_SIZE, size - TAG_SIZE);
	make_tag(sealer, data + TAG_SIZE, size - TAG_SIZE, tag);
	if (memcmp(tag, data, TAG_SIZE) != 0)
		return NULL;
	*value_len = size - TAG_SIZE;
	return (char *) data + TAG_SIZE;
}
