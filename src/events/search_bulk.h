/*
 * search_bulk.h
 *		Documents on their way to a search service: the body of a request _bulk, and
 *		what the answer says of each.
 */
#ifndef FLO_SEARCH_BULK_H
#define FLO_SEARCH_BULK_H

#include "core/clock.h"
#include "events/headers.h"
#include "events/json_scan.h"
#include "events/place.h"
#include "events/search_table.h"

typedef struct FloBulkItem
{
	int			offset;			/* of its lines in the body */
	int			len;
	bool		is_delete;
	bool		refused;		/* by the answer at hand */
	FloPlace	place;
	const char *copy_id;		/* of a copied row; else NULL */
	FloSearchTable *table;
	int			id_offset;		/* of the _id within its lines, with its
								 * quotes */
	int			id_len;
	int64		version;
	List	   *missing;		/* of char *: fields whose values are those of
								 * the document so far */
	char	   *former;			/* that is the one with this _id, a JSON
								 * string; NULL: its own */
	char	   *error;			/* of the answer at hand */
} FloBulkItem;

typedef struct FloBulk
{
	bool		discreet;		/* errors must not show values */
	MemoryContext context;		/* of what belongs to items */
	StringInfoData text;
	FloBulkItem *items;
	int			count;
	int			room;
	int			sent;			/* so many of the first are on their way */
	FloClock	since;			/* when the first came */
	uint8	   *ids;			/* bits of hashes of the _ids in it */
} FloBulk;

extern FloBulk *flo_bulk_create(MemoryContext context, bool discreet);
extern void flo_bulk_clear(FloBulk *bulk);

/*
 * Begin an item; the caller appends the document to "text", then ends it.  "id" is
 * the text of the _id, or with "quoted" a JSON string.
 */
typedef struct FloBulkId
{
	const char *text;
	int			len;
	bool		quoted;
} FloBulkId;

extern FloBulkItem *flo_bulk_begin_item(FloBulk *bulk, FloSearchTable *table, bool is_delete,
										FloBulkId id, int64 version);
extern void flo_bulk_end_item(FloBulk *bulk, const FloTransaction *txn);

/* May there be an item of this _id?  It says yes too often. */
extern bool flo_bulk_may_have(const FloBulk *bulk, const FloSearchTable *table, FloBulkId id);

/* Add members to the document of an item: ,"field":value; the text of others moves */
extern void flo_bulk_complete(FloBulk *bulk, int item, const char *members, int len);

/*
 * What the answer says of the items that were sent: those that are done are taken
 * away; the others stay, some of them refused.  False when the answer is not
 * about them.
 */
typedef struct FloBulkOutcome
{
	int			done;
	int			stale;			/* of these, because a newer document is there */
	int			again;			/* they can be tried again */
	char		error[512];		/* of the first of these */
	int			refused;
	bool		no_index;		/* one of these because its index is gone */
} FloBulkOutcome;

extern bool flo_bulk_take_answer(FloBulk *bulk, FloJsonPart answer, const FloHeaders *headers,
								 FloBulkOutcome *outcome);

/* Take away those that are refused */
extern void flo_bulk_drop_refused(FloBulk *bulk);

#endif
