/*
 * message.h
 *		pg_flo's own messages in WAL: a kind, a payload, and proof that pg_flo
 *		wrote it there.
 *
 * Everybody who can connect may write logical decoding messages of any prefix
 * and content (pg_logical_emit_message() is PUBLIC), so nothing in them is
 * believed that is not signed.  The layout is in README.md.  To write one, call
 * flo_message_write() of conf/message.h; a new kind is one line here and one
 * case in the replicator's take_message().
 */
#ifndef FLO_MESSAGE_H
#define FLO_MESSAGE_H

#include "nodes/pg_list.h"

/*
 * Prefix in WAL.  Transactional and not, this prefix and all that begin with it
 * and an underscore are pg_flo's or nobody's: they never get to a destination
 * by themselves.
 */
#define FLO_MESSAGE_PREFIX "pg_flo"

typedef enum FloMessageKind
{
	FLO_MESSAGE_DDL = 'D',		/* see ddl.h */
	FLO_MESSAGE_DDL_END = 'E',	/* see there */
	FLO_MESSAGE_SEQUENCES = 'S',	/* see sequences.h */
	FLO_MESSAGE_COPIES = 'C',	/* see copies.h */
	FLO_MESSAGE_REPAIR = 'R',	/* see compare.h */
	FLO_MESSAGE_CUTOVER = 'X'	/* see cutover.h */
} FloMessageKind;

/* Prefixes in the stream, where the kind is one of these and the payload stands alone */
#define FLO_DDL_PREFIX "pg_flo_ddl"
#define FLO_SEQUENCES_PREFIX "pg_flo_sequences"
#define FLO_COPIES_PREFIX "pg_flo_copies"
#define FLO_REPAIR_PREFIX "pg_flo_repair"
#define FLO_CUTOVER_MESSAGE_PREFIX "pg_flo_cutover"

typedef struct FloMessage
{
	FloMessageKind kind;
	uint64		transaction;	/* full id of the top-level transaction that
								 * wrote it */
	TransactionId subtransaction;	/* that it is logged under; the same when
									 * there is none */
	uint32		ordinal;		/* rises within the transaction, from 1 */
	const char *payload;
	Size		len;
} FloMessage;

/* What the messages for a group are signed with */
typedef struct FloMessageKey
{
	char	   *group;
	char	   *key;
} FloMessageKey;

typedef enum FloMessageVerdict
{
	FLO_MESSAGE_GENUINE,		/* for the group, and all it says was signed
								 * with its key */
	FLO_MESSAGE_FOR_OTHERS,		/* says that it is for other groups only,
								 * which judge it */
	FLO_MESSAGE_FOREIGN			/* pg_flo has not written it, or not so */
} FloMessageVerdict;

/* The content to log, signed for each of the groups (keys: FloMessageKey *) */
extern char *flo_message_format(const FloMessage *message, const List *keys, Size *len);

/*
 * Never throws for any content.  The message is filled in when it is genuine,
 * and then points into the content.  The caller compares transaction and order.
 */
extern FloMessageVerdict flo_message_check(const char *content, Size len,
										   const FloMessageKey *key, FloMessage *message);

#endif
