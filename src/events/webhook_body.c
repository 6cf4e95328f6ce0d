/*
 * webhook_body.c
 *		The body of a webhook request: one event or an array of them.
 */
#include "postgres.h"

#include "events/webhook_body.h"
#include "utils/memutils.h"

/* A body of more bytes gives its memory back when it is done with */
#define KEPT_ROOM (4 * 1024 * 1024)

FloWebhookBody *
flo_webhook_body_create(MemoryContext context)
{
	FloWebhookBody *body = MemoryContextAllocZero(context, sizeof(FloWebhookBody));
	MemoryContext old = MemoryContextSwitchTo(context);

	initStringInfo(&body->text);
	body->context = AllocSetContextCreate(context, "pg_flo webhook request", ALLOCSET_SMALL_SIZES);
	MemoryContextSwitchTo(old);
	return body;
}

void
flo_webhook_body_clear(FloWebhookBody *body)
{
	body->count = 0;
	MemoryContextReset(body->context);
	body->marks = NULL;
	body->room = 0;

	/* do not keep the memory of a huge row */
	if (body->text.maxlen > KEPT_ROOM)
	{
		body->text.data = repalloc(body->text.data, 1024);
		body->text.maxlen = 1024;
	}
	resetStringInfo(&body->text);
}

void
flo_webhook_body_free(FloWebhookBody *body)
{
	MemoryContextDelete(body->context);
	pfree(body->text.data);
	pfree(body);
}

/* Its name at the source; that of the event before serves again */
static void
note_table(FloWebhookBody *body, FloMark *mark, const FloRelation *relation)
{
	const FloRelation *source = relation != NULL && relation->source != NULL ? relation->source :
		relation;
	const FloMark *before = body->count > 1 ? mark - 1 : NULL;

	mark->relation = source != NULL ? source->id : 0;
	mark->schema = mark->table = NULL;
	if (mark->relation == 0)
		return;
	if (before != NULL && before->relation == mark->relation)
	{
		mark->schema = before->schema;
		mark->table = before->table;
		return;
	}
	mark->schema = MemoryContextStrdup(body->context, source->schema);
	mark->table = MemoryContextStrdup(body->context, source->name);
}

void
flo_webhook_body_add(FloWebhookBody *body, bool array, const char *event, int len, const char *id,
					 FloPlace place, const FloRelation *relation)
{
	FloMark    *mark;

	if (body->count == body->room)
	{
		int			room = Max(body->room * 2, 4);
		FloMark    *marks = MemoryContextAlloc(body->context, sizeof(FloMark) * room);

		if (body->count > 0)
			memcpy(marks, body->marks, sizeof(FloMark) * body->count);
		body->marks = marks;
		body->room = room;
	}
	if (array)
	{
		/* the bracket that closed it before gives way */
		if (body->count > 0)
			body->text.data[body->text.len - 1] = ',';
		else
			appendStringInfoChar(&body->text, '[');
	}
	mark = &body->marks[body->count++];
	mark->offset = body->text.len;
	mark->len = len;
	mark->id = MemoryContextStrdup(body->context, id);
	mark->headers = NULL;
	mark->place = place;
	note_table(body, mark, relation);
	appendBinaryStringInfo(&body->text, event, len);
	if (array)
		appendStringInfoChar(&body->text, ']');
}

void
flo_webhook_body_add_headers(FloWebhookBody *body, const char *headers)
{
	if (headers != NULL)
		body->marks[body->count - 1].headers = MemoryContextStrdup(body->context, headers);
}

List *
flo_webhook_body_headers(const FloWebhookBody *body)
{
	MemoryContext old = MemoryContextSwitchTo(body->context);
	List	   *lines = NIL;

	for (int i = 0; i < body->count; i++)
	{
		const char *line = body->marks[i].headers;

		while (line != NULL && *line != '\0')
		{
			int			len = strcspn(line, "\n");

			lines = lappend(lines, pnstrdup(line, len));
			line += len + (line[len] == '\n' ? 1 : 0);
		}
	}
	MemoryContextSwitchTo(old);
	return lines;
}

const char *
flo_webhook_body_table(const FloWebhookBody *body)
{
	static char text[2 * NAMEDATALEN + 8];

	if (body->count == 0 || body->marks[0].table == NULL)
		return "";
	snprintf(text, sizeof(text), " (%s.%s)", body->marks[0].schema, body->marks[0].table);
	return text;
}
