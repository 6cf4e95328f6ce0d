/*
 * notes.c
 *		What has been found out about tables in this transaction.
 */
#include "postgres.h"

#include "access/xact.h"
#include "conf/notes.h"
#include "core/names.h"
#include "nodes/pg_list.h"
#include "utils/memutils.h"

typedef struct Entry
{
	char		group[FLO_NAME_BUF];
	Oid			relation;
	FloNote		note;
	SubTransactionId made_in;
} Entry;

/* Newest last; in TopTransactionContext */
static List *entries = NIL;

void
flo_notes_set(const char *group, Oid relation, FloNote note)
{
	MemoryContext old = MemoryContextSwitchTo(TopTransactionContext);
	Entry	   *entry = palloc(sizeof(Entry));

	strlcpy(entry->group, group, sizeof(entry->group));
	entry->relation = relation;
	entry->note = note;
	entry->made_in = GetCurrentSubTransactionId();
	entries = lappend(entries, entry);
	MemoryContextSwitchTo(old);
}

FloNote
flo_notes_get(const char *group, Oid relation)
{
	for (int i = list_length(entries) - 1; i >= 0; i--)
	{
		const Entry *entry = list_nth(entries, i);

		if (entry->relation == relation && strcmp(entry->group, group) == 0)
			return entry->note;
	}
	return FLO_NOTE_NONE;
}

static void
at_transaction_end(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		entries = NIL;
}

/* Subtransactions within the one that ends have higher numbers, and so has all made in them */
static void
at_subtransaction_end(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		while (entries != NIL && ((Entry *) llast(entries))->made_in >= mine)
			entries = list_delete_last(entries);
}

void
flo_notes_init(void)
{
	RegisterXactCallback(at_transaction_end, NULL);
	RegisterSubXactCallback(at_subtransaction_end, NULL);
}
