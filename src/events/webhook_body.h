/*
 * webhook_body.h
 *		The body of a webhook request: one event or an array of them.
 */
#ifndef FLO_WEBHOOK_BODY_H
#define FLO_WEBHOOK_BODY_H

#include "events/place.h"
#include "lib/stringinfo.h"
#include "wire/change.h"

typedef struct FloMark
{
	int			offset;			/* of the event in the body */
	int			len;
	char	   *id;
	char	   *headers;		/* "Name: value" in lines; NULL: none */
	FloPlace	place;
	uint32		relation;		/* the table at the source */
	char	   *schema;
	char	   *table;			/* NULL: not told */
} FloMark;

/* The body of a request */
typedef struct FloWebhookBody
{
	MemoryContext context;		/* of the ids */
	StringInfoData text;
	FloMark    *marks;
	int			count;
	int			room;
} FloWebhookBody;

extern FloWebhookBody *flo_webhook_body_create(MemoryContext context);
extern void flo_webhook_body_clear(FloWebhookBody *body);
extern void flo_webhook_body_free(FloWebhookBody *body);

/*
 * With "array", the body is one, even of a single event.  "relation" is the
 * table as the event has it, or NULL.
 */
extern void flo_webhook_body_add(FloWebhookBody *body, bool array, const char *event, int len,
								 const char *id, FloPlace place, const FloRelation *relation);

/* Headers that go with the event added last: "Name: value" in lines, or NULL */
extern void flo_webhook_body_add_headers(FloWebhookBody *body, const char *headers);

/* All of them, one in a line; in the body's context.  List of char *. */
extern List *flo_webhook_body_headers(const FloWebhookBody *body);

/* The table of its first event, for people: " (schema.table)" or "".  Valid until the next call. */
extern const char *flo_webhook_body_table(const FloWebhookBody *body);

#endif
