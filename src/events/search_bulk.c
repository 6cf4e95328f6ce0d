/*
 * search_bulk.c
 *		Documents on their way to a search service: the body of a request _bulk, and
 *		what the answer says of each.
 *
 * Each item carries the version of its change (external_gte), so the service keeps the
 * newest document of a row in whatever order and however often items come.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "events/json_value.h"
#include "events/search_bulk.h"
#include "utils/memutils.h"

/* A body of more bytes gives its memory back when it is done with */
#define KEPT_ROOM (16 * 1024 * 1024)

#define ID_BITS 65536

/* Most of an error that is kept, bytes */
#define ERROR_MAX 400

FloBulk *
flo_bulk_create(MemoryContext context, bool discreet)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	FloBulk    *bulk = palloc0(sizeof(FloBulk));

	bulk->discreet = discreet;
	initStringInfo(&bulk->text);
	bulk->ids = palloc0(ID_BITS / 8);
	bulk->context = AllocSetContextCreate(context, "pg_flo bulk items", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(old);
	return bulk;
}

void
flo_bulk_clear(FloBulk *bulk)
{
	if (bulk->count > 0)
		memset(bulk->ids, 0, ID_BITS / 8);
	bulk->count = bulk->room = bulk->sent = 0;
	bulk->items = NULL;
	MemoryContextReset(bulk->context);
	if (bulk->text.maxlen > KEPT_ROOM)
	{
		bulk->text.data = repalloc(bulk->text.data, 1024);
		bulk->text.maxlen = 1024;
	}
	resetStringInfo(&bulk->text);
}

/* --- items --------------------------------------------------------------- */

static uint32
id_bit(const FloSearchTable *table, FloBulkId id)
{
	return (hash_bytes((const unsigned char *) id.text, id.len) ^ table->relation) % ID_BITS;
}

bool
flo_bulk_may_have(const FloBulk *bulk, const FloSearchTable *table, FloBulkId id)
{
	uint32		bit = id_bit(table, id);

	return bulk->count > 0 && (bulk->ids[bit / 8] & (1 << bit % 8)) != 0;
}

static FloBulkItem *
new_item(FloBulk *bulk)
{
	if (bulk->count == bulk->room)
	{
		int			room = Max(bulk->room * 2, 64);
		FloBulkItem *items = MemoryContextAllocHuge(bulk->context, sizeof(FloBulkItem) * room);

		if (bulk->count > 0)
			memcpy(items, bulk->items, sizeof(FloBulkItem) * bulk->count);
		if (bulk->items != NULL)
			pfree(bulk->items);
		bulk->items = items;
		bulk->room = room;
	}
	if (bulk->count == 0)
		bulk->since = flo_clock();
	memset(&bulk->items[bulk->count], 0, sizeof(FloBulkItem));
	return &bulk->items[bulk->count];
}

FloBulkItem *
flo_bulk_begin_item(FloBulk *bulk, FloSearchTable *table, bool is_delete, FloBulkId id,
					int64 version)
{
	FloBulkItem *item = new_item(bulk);
	StringInfo	text = &bulk->text;
	uint32		bit = id_bit(table, id);

	bulk->ids[bit / 8] |= 1 << bit % 8;
	item->table = table;
	item->is_delete = is_delete;
	item->version = version;
	item->offset = text->len;
	appendStringInfoString(text, is_delete ? "{\"delete\":{\"_index\":\"" :
						   "{\"index\":{\"_index\":\"");
	appendStringInfoString(text, table->index);
	appendStringInfoString(text, "\",\"_id\":");
	item->id_offset = text->len - item->offset;
	if (id.quoted)
		appendBinaryStringInfo(text, id.text, id.len);
	else
		flo_json_append_text(text, id.text, id.len);
	item->id_len = text->len - item->offset - item->id_offset;
	appendStringInfo(text, ",\"version\":" INT64_FORMAT ",\"version_type\":\"external_gte\"}}\n",
					 version);
	return item;
}

void
flo_bulk_end_item(FloBulk *bulk, const FloTransaction *txn)
{
	FloBulkItem *item = &bulk->items[bulk->count];
	const FloBulkItem *before = bulk->count > 0 ? item - 1 : NULL;

	if (!item->is_delete)
		appendStringInfoChar(&bulk->text, '\n');
	item->len = bulk->text.len - item->offset;
	item->place.final_lsn = txn->final_lsn;
	item->place.ordinal = txn->ordinal;
	if (txn->copy_id != NULL)
		item->copy_id = before != NULL && before->copy_id != NULL &&
			strcmp(before->copy_id, txn->copy_id) == 0 ? before->copy_id :
			MemoryContextStrdup(bulk->context, txn->copy_id);
	bulk->count++;
}

void
flo_bulk_complete(FloBulk *bulk, int number, const char *members, int len)
{
	FloBulkItem *item = &bulk->items[number];
	StringInfo	text = &bulk->text;
	int			end = item->offset + item->len - 2; /* its bracket */
	bool		empty = text->data[end - 1] == '{';

	/* a document of nothing else needs no comma */
	if (empty)
	{
		members++;
		len--;
	}
	enlargeStringInfo(text, len);
	memmove(text->data + end + len, text->data + end, text->len - end + 1);
	memcpy(text->data + end, members, len);
	text->len += len;
	item->len += len;
	for (int i = number + 1; i < bulk->count; i++)
		bulk->items[i].offset += len;
	item->missing = NIL;
}

/* Keep those that are neither done nor, with "refused", refused */
static void
keep(FloBulk *bulk, const bool *done, bool refused)
{
	StringInfo	text = &bulk->text;
	int			kept = 0;
	int			len = 0;

	for (int i = 0; i < bulk->count; i++)
	{
		FloBulkItem item = bulk->items[i];

		if (i < bulk->sent && (done != NULL ? done[i] : refused && item.refused))
			continue;
		if (item.offset != len)
			memmove(text->data + len, text->data + item.offset, item.len);
		item.offset = len;
		len += item.len;
		bulk->items[kept++] = item;
	}
	text->len = len;
	text->data[len] = '\0';
	bulk->sent -= bulk->count - kept;
	bulk->count = kept;
	if (kept == 0)
		flo_bulk_clear(bulk);
}

void
flo_bulk_drop_refused(FloBulk *bulk)
{
	keep(bulk, NULL, true);
}

/* --- answers ------------------------------------------------------------- */

/* "400 type: reason; cause", ASCII: bytes of a stranger.  Reasons can hold values. */
static char *
describe_error(const FloBulk *bulk, int64 status, FloJsonPart error, const FloHeaders *headers)
{
	char	   *cause = flo_json_content(flo_json_find(flo_json_find(error, "caused_by"),
													   "reason"));
	char	   *type = flo_json_content(flo_json_find(error, "type"));
	char	   *text = bulk->discreet ? psprintf(INT64_FORMAT " %s", status, type) :
		psprintf(INT64_FORMAT " %s: %s%s%s", status, type,
				 flo_json_content(flo_json_find(error, "reason")), cause[0] != '\0' ? "; " : "",
				 cause);

	if (strlen(text) > ERROR_MAX)
		text[ERROR_MAX] = '\0';
	for (char *c = text; *c != '\0'; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
	flo_headers_hide(headers, text);
	return MemoryContextStrdup(bulk->context, text);
}

/*
 * True when the item is done.  An older change that comes late is, and the
 * deletion of what is not there.
 */
static bool
judge(FloBulk *bulk, FloBulkItem *item, FloJsonPart result, const FloHeaders *headers,
	  FloBulkOutcome *outcome)
{
	int64		status = flo_json_number(flo_json_find(result, "status"), 0);
	FloJsonPart error = flo_json_find(result, "error");
	FloJsonPart type = flo_json_find(error, "type");
	bool		no_index = flo_json_is(type, "\"index_not_found_exception\"");

	item->refused = false;
	if ((status >= 200 && status <= 299) || (status == 404 && error.data == NULL))
		return true;
	if (status == 409 && flo_json_is(type, "\"version_conflict_engine_exception\""))
	{
		outcome->stale++;
		return true;
	}
	if (item->error != NULL)
		pfree(item->error);
	item->error = describe_error(bulk, status, error, headers);
	outcome->no_index |= no_index;
	if (no_index || status < 400 || status == 401 || status == 403 || status == 429 ||
		status >= 500)
	{
		if (outcome->again == 0)
			strlcpy(outcome->error, item->error, sizeof(outcome->error));
		outcome->again++;
	}
	else
	{
		item->refused = true;
		outcome->refused++;
	}
	return false;
}

/* Has a later change of the same version been taken for this document? */
static bool
is_superseded(const FloBulk *bulk, const bool *done, int number)
{
	const FloBulkItem *item = &bulk->items[number];
	const char *id = bulk->text.data + item->offset + item->id_offset;

	for (int i = number + 1; i < bulk->sent && bulk->items[i].version == item->version; i++)
	{
		const FloBulkItem *later = &bulk->items[i];

		if (done[i] && later->table == item->table && later->id_len == item->id_len &&
			memcmp(bulk->text.data + later->offset + later->id_offset, id, item->id_len) == 0)
			return true;
	}
	return false;
}

/*
 * Changes of one transaction can have one version: the service would take the earlier of
 * them after the later one.  Nobody is to see what it was in between, so it is done.
 */
static void
drop_superseded(const FloBulk *bulk, bool *done, FloBulkOutcome *outcome)
{
	for (int i = 0; i < bulk->sent; i++)
	{
		if (done[i] || bulk->items[i].copy_id != NULL || !is_superseded(bulk, done, i))
			continue;
		done[i] = true;
		outcome->done++;
		if (bulk->items[i].refused)
			outcome->refused--;
		else
			outcome->again--;
	}
}

bool
flo_bulk_take_answer(FloBulk *bulk, FloJsonPart answer, const FloHeaders *headers,
					 FloBulkOutcome *outcome)
{
	FloJsonScan scan = flo_json_scan(flo_json_find(answer, "items"));
	FloJsonPart errors = flo_json_find(answer, "errors");
	FloJsonPart value;
	bool	   *done;
	int			i = 0;

	memset(outcome, 0, sizeof(FloBulkOutcome));
	if (!flo_json_is(errors, "true") && !flo_json_is(errors, "false"))
		return false;
	done = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(bool) * Max(bulk->sent, 1));
	while (i < bulk->sent && flo_json_next(&scan, NULL, &value))
	{
		FloJsonScan one = flo_json_scan(value);
		FloJsonPart result;

		if (!flo_json_next(&one, NULL, &result))
			break;
		done[i] = judge(bulk, &bulk->items[i], result, headers, outcome);
		outcome->done += done[i];
		i++;
	}
	/* nothing is known of the rest: they come again */
	if (i < bulk->sent || flo_json_next(&scan, NULL, &value))
	{
		pfree(done);
		return false;
	}
	if (outcome->done > 0)
		drop_superseded(bulk, done, outcome);
	keep(bulk, done, false);
	pfree(done);
	return true;
}
