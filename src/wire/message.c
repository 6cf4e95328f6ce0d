/*
 * message.c
 *		Signs and checks pg_flo's own messages in WAL.
 *
 * A message says which transaction it stands in and which of that transaction's
 * messages it is, so that a copy of it proves nothing anywhere else.  One that
 * is for several groups is logged once, with a signature for each.
 */
#include "postgres.h"

#include "common/hmac.h"
#include "common/sha2.h"
#include "core/names.h"
#include "lib/stringinfo.h"
#include "libpq/pqformat.h"
#include "wire/message.h"

#define MESSAGE_VERSION 1

/* version, kind, transaction, subtransaction, ordinal: what is signed of the head */
#define SIGNED_HEAD (1 + 1 + 8 + 4 + 4)
#define SIGNATURE PG_SHA256_DIGEST_LENGTH

/* Keeps these signatures apart from any other use of a key */
static const char purpose[] = "pg_flo message in WAL";

static void
sign(const FloMessageKey *key, const char *head, const char *payload, Size len, uint8 *signature)
{
	pg_hmac_ctx *hmac = pg_hmac_create(PG_SHA256);

	/* the NULs end the texts, so that no two inputs give the same bytes */
	if (hmac == NULL ||
		pg_hmac_init(hmac, (const uint8 *) key->key, strlen(key->key)) < 0 ||
		pg_hmac_update(hmac, (const uint8 *) purpose, sizeof(purpose)) < 0 ||
		pg_hmac_update(hmac, (const uint8 *) key->group, strlen(key->group) + 1) < 0 ||
		pg_hmac_update(hmac, (const uint8 *) head, SIGNED_HEAD) < 0 ||
		pg_hmac_update(hmac, (const uint8 *) payload, len) < 0 ||
		pg_hmac_final(hmac, signature, SIGNATURE) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not compute the signature of a message")));
	pg_hmac_free(hmac);
}

/* Takes as long wherever they differ: the time tells nothing about the right one */
static bool
is_same_signature(const uint8 *a, const uint8 *b)
{
	volatile uint8 difference = 0;

	for (int i = 0; i < SIGNATURE; i++)
		difference |= a[i] ^ b[i];
	return difference == 0;
}

char *
flo_message_format(const FloMessage *message, const List *keys, Size *len)
{
	StringInfoData buf;
	ListCell   *cell;

	initStringInfo(&buf);
	pq_sendbyte(&buf, MESSAGE_VERSION);
	pq_sendbyte(&buf, message->kind);
	pq_sendint64(&buf, message->transaction);
	pq_sendint32(&buf, message->subtransaction);
	pq_sendint32(&buf, message->ordinal);
	Assert(buf.len == SIGNED_HEAD);
	pq_sendint16(&buf, list_length(keys));
	foreach(cell, keys)
	{
		const FloMessageKey *key = lfirst(cell);
		uint8		signature[SIGNATURE];

		sign(key, buf.data, message->payload, message->len, signature);
		pq_sendbyte(&buf, strlen(key->group));
		appendBinaryStringInfo(&buf, key->group, strlen(key->group));
		appendBinaryStringInfo(&buf, (char *) signature, SIGNATURE);
	}
	appendBinaryStringInfo(&buf, message->payload, message->len);
	*len = buf.len;
	return buf.data;
}

static uint64
get_number(const char *from, int bytes)
{
	uint64		value = 0;

	for (int i = 0; i < bytes; i++)
		value = value << 8 | (uint8) from[i];
	return value;
}

FloMessageVerdict
flo_message_check(const char *content, Size len, const FloMessageKey *key, FloMessage *message)
{
	const char *next = content + SIGNED_HEAD + 2;
	const char *end = content + len;
	const char *own = NULL;
	uint8		signature[SIGNATURE];
	int			count;

	if (len < SIGNED_HEAD + 2 || content[0] != MESSAGE_VERSION)
		return FLO_MESSAGE_FOREIGN;
	count = (int) get_number(content + SIGNED_HEAD, 2);
	for (int i = 0; i < count; i++)
	{
		int			name = next < end ? (uint8) *next++ : 0;
		char		group[FLO_NAME_BUF];

		if (name >= sizeof(group) || end - next < name + SIGNATURE)
			return FLO_MESSAGE_FOREIGN;
		memcpy(group, next, name);
		group[name] = '\0';
		if (!flo_name_is_valid(group))
			return FLO_MESSAGE_FOREIGN;
		if (strcmp(group, key->group) == 0)
			own = next + name;
		next += name + SIGNATURE;
	}
	if (own == NULL)
		return count > 0 ? FLO_MESSAGE_FOR_OTHERS : FLO_MESSAGE_FOREIGN;
	sign(key, content, next, end - next, signature);
	if (!is_same_signature(signature, (const uint8 *) own))
		return FLO_MESSAGE_FOREIGN;
	message->kind = (FloMessageKind) content[1];
	message->transaction = get_number(content + 2, 8);
	message->subtransaction = (TransactionId) get_number(content + 10, 4);
	message->ordinal = (uint32) get_number(content + 14, 4);
	message->payload = next;
	message->len = end - next;
	return FLO_MESSAGE_GENUINE;
}
