/*
 * message.c
 *		Writes pg_flo's own messages into WAL, and keeps the keys they are signed
 *		with.
 *
 * Messages are written in sessions of anybody, so the keys are read here without
 * SQL: no plan, no executor hook, no log setting and no error context of that
 * session ever sees one.
 *
 * Awkward case: a key that is dropped and made again while a transaction is
 * about to write.  It gets its transaction id before it looks for the key, with
 * a snapshot of that moment.  A new slot waits for the transactions that have
 * an id, so what it decodes was signed with the key that its group has now.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "conf/message.h"
#include "conf/sql.h"
#include "core/compat_slot.h"
#include "core/compat_table.h"
#include "executor/tuptable.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

/* Columns of flo.secrets, and the rows of it that are keys */
#define KEY_NAME "sign"
#define Anum_secrets_group_name 1
#define Anum_secrets_worker_name 2
#define Anum_secrets_key 3
#define Anum_secrets_value 4

#define KEY_OF_GROUP \
"SELECT value FROM flo.secrets WHERE group_name = $1 AND worker_name = '' AND key = '" KEY_NAME "'"

static bool
is_text(TupleTableSlot *slot, int column, const char *wanted)
{
	bool		isnull;
	Datum		value = slot_getattr(slot, column, &isnull);

	return !isnull && strcmp(TextDatumGetCString(value), wanted) == 0;
}

/* The group's key, palloc'd; NULL when it has none */
static char *
find_key(Relation secrets, Snapshot snapshot, const char *group)
{
	TupleTableSlot *slot = table_slot_create(secrets, NULL);
	TableScanDesc scan = flo_compat_table_beginscan(secrets, snapshot);
	char	   *key = NULL;

	while (key == NULL && table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		bool		isnull;

		if (is_text(slot, Anum_secrets_group_name, group) &&
			is_text(slot, Anum_secrets_worker_name, "") &&
			is_text(slot, Anum_secrets_key, KEY_NAME))
			key = TextDatumGetCString(slot_getattr(slot, Anum_secrets_value, &isnull));
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	return key;
}

/* Those of the groups that have a key: List of FloMessageKey * */
static List *
find_keys(const List *groups)
{
	Relation	secrets = table_open(flo_store_table("secrets"), AccessShareLock);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	List	   *keys = NIL;
	ListCell   *cell;

	foreach(cell, groups)
	{
		FloMessageKey *key = palloc(sizeof(FloMessageKey));

		key->group = lfirst(cell);
		key->key = find_key(secrets, snapshot, key->group);
		if (key->key != NULL)
			keys = lappend(keys, key);
		else
			ereport(WARNING,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("group \"%s\" has no key to sign with: it will not learn of this",
							key->group),
					 errhint("Its replicator makes one when it starts; then call flo.resync().")));
	}
	UnregisterSnapshot(snapshot);
	table_close(secrets, AccessShareLock);
	return keys;
}

void
flo_message_write(FloMessageKind kind, const List *groups, const char *payload, Size len)
{
	static uint64 transaction = 0;
	static uint32 ordinal = 0;
	FloMessage	message = {0};
	List	   *keys;
	char	   *content;
	Size		size;

	message.kind = kind;
	message.transaction = U64FromFullTransactionId(GetTopFullTransactionId());
	message.subtransaction = GetCurrentTransactionId();
	message.payload = payload;
	message.len = len;
	keys = find_keys(groups);
	if (keys == NIL)
		return;

	/* goes on over savepoints that were rolled back: no number is used twice */
	if (transaction != message.transaction)
		ordinal = 0;
	transaction = message.transaction;
	message.ordinal = ++ordinal;
	content = flo_message_format(&message, keys, &size);
	(void) flo_compat_log_message(FLO_MESSAGE_PREFIX, content, size);
	pfree(content);
}

FloMessageKey *
flo_message_key(const char *group)
{
	FloMessageKey *key = palloc(sizeof(FloMessageKey));
	FloSqlSession sql;

	flo_sql_begin(&sql);
	if (flo_sql_run(SPI_OK_SELECT, KEY_OF_GROUP, 1, group) == 0)
	{
		flo_sql_run(SPI_OK_SELECT, "SELECT flo.make_keys()", 0);
		if (flo_sql_run(SPI_OK_SELECT, KEY_OF_GROUP, 1, group) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("group \"%s\" has no key to sign with", group),
					 errhint("Its replicator belongs to another database or server: flo.start_group() adopts it.")));
	}
	key->group = MemoryContextStrdup(sql.caller, group);
	key->key = flo_sql_text(&sql, 0, 1);
	flo_sql_end(&sql);
	return key;
}
