/*
 * search_letter.c
 *		A document that was refused, as a dead letter.
 */
#include "postgres.h"

#include "events/search_letter.h"

char *
flo_search_letter_id(const char *group, const FloBulk *bulk, const FloBulkItem *item)
{
	FloTransaction txn = {.final_lsn = item->place.final_lsn,.ordinal = item->place.ordinal};
	StringInfoData id;

	txn.copy_id = item->copy_id;
	initStringInfo(&id);
	flo_event_append_id(&id, group, &txn);
	if (item->is_delete)
		appendStringInfo(&id, "-%.*s", item->id_len,
						 bulk->text.data + item->offset + item->id_offset);
	return id.data;
}

char *
flo_search_letter_event(const FloBulk *bulk, const FloBulkItem *item)
{
	const char *start = bulk->text.data + item->offset;
	const char *end = start + item->len;
	const char *line = memchr(start, '\n', item->len);

	if (item->is_delete)
		return psprintf("{\"action\":%.*s}", (int) (line - start), start);
	return psprintf("{\"action\":%.*s,\"document\":%.*s}", (int) (line - start), start,
					(int) (end - line - 2), line + 1);
}

bool
flo_search_letter_lines(StringInfo out, const char *event)
{
	static const char *const gte = "\"version_type\":\"external_gte\"";
	FloJsonPart letter = flo_json_part(event, strlen(event));
	FloJsonPart action = flo_json_find(letter, "action");
	FloJsonPart document = flo_json_find(letter, "document");
	char	   *line;
	char	   *type;

	if (action.data == NULL)
		return false;
	line = pnstrdup(action.data, action.len);
	type = strstr(line, gte);
	if (type == NULL)
		return false;
	*type = '\0';
	appendStringInfo(out, "%s\"version_type\":\"external\"%s\n", line, type + strlen(gte));
	if (document.data != NULL)
		appendStringInfo(out, "%.*s\n", document.len, document.data);
	return true;
}
