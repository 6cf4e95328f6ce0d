/*
 * search_lookup.c
 *		Values that an UPDATE did not bring, read from the documents so far.
 *
 * By the time they are read everything before them has been taken: two changes of one
 * row of which the later needs this are never in one request.
 */
#include "postgres.h"

#include "events/search_lookup.h"

/* Documents that are read at a time */
#define LOOKUP_SIZE 16

/* Its own document and, when its row had another key before, that one's */
static void
append_lookup(StringInfo body, const FloBulk *bulk, const FloBulkItem *item)
{
	appendStringInfo(body, "%s{\"_index\":\"%s\",\"_id\":%.*s}", body->len > 0 ? "," : "",
					 item->table->index, item->id_len,
					 bulk->text.data + item->offset + item->id_offset);
	if (item->former != NULL)
		appendStringInfo(body, ",{\"_index\":\"%s\",\"_id\":%s}", item->table->index,
						 item->former);
}

/*
 * The document that has the values.  After a restart the change may be there already,
 * and the former document be gone or another row's.
 */
static FloJsonPart
former_document(const FloBulkItem *item, FloJsonScan *scan, bool *ok)
{
	FloJsonPart own;
	FloJsonPart former;

	*ok = flo_json_next(scan, NULL, &own);
	if (!*ok || item->former == NULL)
		return own;
	*ok = flo_json_next(scan, NULL, &former);
	return flo_json_number(flo_json_find(own, "_version"), -1) >= item->version ? own : former;
}

/* The members of the document so far that the item lacks */
static void
append_found(StringInfo members, const FloBulkItem *item, FloJsonPart document)
{
	ListCell   *lc;

	foreach(lc, item->missing)
	{
		const char *field = lfirst(lc);
		FloJsonPart value = flo_json_find(document, pnstrdup(field + 1, strlen(field) - 2));

		if (value.data != NULL)
			appendStringInfo(members, ",%s:%.*s", field, value.len, value.data);
	}
}

/* A document that is not there has nothing that could be kept */
static void
look_up(FloSearchClient *client, FloBulk *bulk, const int *numbers, int count)
{
	FloSearchAnswer answer;
	FloJsonScan scan;
	StringInfoData text;

	initStringInfo(&text);
	for (int i = 0; i < count; i++)
		append_lookup(&text, bulk, &bulk->items[numbers[i]]);
	answer = flo_search_ask(client, "POST", "/_mget",
							psprintf("{\"docs\":[%s]}", text.data));
	if (answer.cut && count > 1)
	{
		for (int i = 0; i < count; i++)
			look_up(client, bulk, &numbers[i], 1);
		return;
	}
	if (answer.status != 200 || answer.cut)
		flo_search_refused(client, &answer, "give documents");
	scan = flo_json_scan(flo_json_find(answer.body, "docs"));
	for (int i = 0; i < count; i++)
	{
		const FloBulkItem *item = &bulk->items[numbers[i]];
		bool		ok;
		FloJsonPart document = former_document(item, &scan, &ok);

		if (!ok)
			flo_search_refused(client, &answer, "give all documents");
		resetStringInfo(&text);
		append_found(&text, item, flo_json_find(document, "_source"));
		if (text.len > 0)
			flo_bulk_complete(bulk, numbers[i], text.data, text.len);
		bulk->items[numbers[i]].missing = NIL;
	}
}

void
flo_search_look_up(FloSearchClient *client, FloBulk *bulk, int first, int limit)
{
	int			numbers[LOOKUP_SIZE];
	int			count = 0;

	for (int i = first; i < limit && count < LOOKUP_SIZE; i++)
	{
		if (bulk->items[i].missing != NIL)
			numbers[count++] = i;
	}
	look_up(client, bulk, numbers, count);
}
