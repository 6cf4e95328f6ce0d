/*
 * escape.c
 *		Names and values as one legal token of the place that events go to.
 *
 * A byte that may not stand there, or that would make two texts alike, becomes a
 * mark and two hex digits; the mark itself does, too.  So a mark is always
 * followed by a digit, but for three tokens of their own: a lone mark is the
 * empty text, two are NULL, and a mark with an "h" begins a hash.
 *
 * What joins tokens is none of a token's bytes: "." and "/" for subjects, "-" and
 * "." for indexes, "." for topics.  So names that are made of several tokens are
 * as different as these are.
 */
#include "postgres.h"

#include "common/cryptohash.h"
#include "common/sha2.h"
#include "events/escape.h"
#include "utils/resowner.h"

typedef struct Rule
{
	char		mark;
	const char *digits;
	const char *inside;			/* legal besides digits and lower-case letters */
	bool		upper;			/* upper-case letters are legal */
} Rule;

static const Rule rules[] = {
	[FLO_ESCAPE_NATS] = {'=', FLO_HEX_UPPER, "_-", true},
	[FLO_ESCAPE_INDEX] = {'=', FLO_HEX_LOWER, "_", false},
	[FLO_ESCAPE_TOPIC] = {'-', FLO_HEX_UPPER, "_", true},
};

/* A name of an index must not begin with an underscore */
static bool
is_legal(FloEscape escape, char c, bool first)
{
	const Rule *rule = &rules[escape];

	if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))
		return true;
	if (c >= 'A' && c <= 'Z')
		return rule->upper;
	if (first && escape == FLO_ESCAPE_INDEX)
		return false;
	return c != '\0' && strchr(rule->inside, c) != NULL;
}

void
flo_escape_append(StringInfo out, FloEscape escape, const char *text, int len)
{
	const Rule *rule = &rules[escape];
	const char *end = text + len;

	if (len == 0)
		appendStringInfoChar(out, rule->mark);
	for (const char *at = text; at < end;)
	{
		const char *plain = at;

		while (at < end && is_legal(escape, *at, at == text))
			at++;
		appendBinaryStringInfo(out, plain, at - plain);
		if (at == end)
			break;
		appendStringInfoChar(out, rule->mark);
		appendStringInfoChar(out, rule->digits[(unsigned char) *at >> 4]);
		appendStringInfoChar(out, rule->digits[(unsigned char) *at & 15]);
		at++;
	}
}

void
flo_escape_append_null(StringInfo out, FloEscape escape)
{
	appendStringInfoChar(out, rules[escape].mark);
	appendStringInfoChar(out, rules[escape].mark);
}

/* The server's hashes want a resource owner, which there is in transactions only */
static void
hash_text(const char *text, int len, uint8 *digest)
{
	static ResourceOwner own = NULL;
	ResourceOwner former = CurrentResourceOwner;
	pg_cryptohash_ctx *hash;

	if (own == NULL)
		own = ResourceOwnerCreate(NULL, "pg_flo hash");
	CurrentResourceOwner = own;
	hash = pg_cryptohash_create(PG_SHA256);
	if (hash == NULL || pg_cryptohash_init(hash) < 0 ||
		pg_cryptohash_update(hash, (const uint8 *) text, len) < 0 ||
		pg_cryptohash_final(hash, digest, PG_SHA256_DIGEST_LENGTH) < 0)
		elog(ERROR, "could not compute a hash: %s", pg_cryptohash_error(hash));
	pg_cryptohash_free(hash);
	CurrentResourceOwner = former;
}

void
flo_escape_hash(StringInfo out, int start, const char *digits)
{
	uint8		digest[PG_SHA256_DIGEST_LENGTH];

	hash_text(out->data + start, out->len - start, digest);
	out->len = start;
	for (int i = 0; i < sizeof(digest); i++)
	{
		appendStringInfoChar(out, digits[digest[i] >> 4]);
		appendStringInfoChar(out, digits[digest[i] & 15]);
	}
}

void
flo_escape_bound(StringInfo out, FloEscape escape, int start, int limit)
{
	const Rule *rule = &rules[escape];
	char		mark[2] = {rule->mark, 'h'};

	if (out->len - start <= limit)
		return;
	flo_escape_hash(out, start, rule->digits);
	enlargeStringInfo(out, sizeof(mark));
	memmove(out->data + start + sizeof(mark), out->data + start, out->len - start + 1);
	memcpy(out->data + start, mark, sizeof(mark));
	out->len += sizeof(mark);
}
