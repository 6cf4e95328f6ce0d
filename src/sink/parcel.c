/*
 * parcel.c
 *		The body of a webhook request: one event or an array of them.
 */
#include "postgres.h"

#include "sink/parcel.h"
#include "utils/memutils.h"

/* A body of more bytes gives its memory back when it is done with */
#define KEPT_ROOM (4 * 1024 * 1024)

FloParcel *
flo_parcel_create(MemoryContext context)
{
	FloParcel  *parcel = MemoryContextAllocZero(context, sizeof(FloParcel));
	MemoryContext old = MemoryContextSwitchTo(context);

	initStringInfo(&parcel->body);
	parcel->context = AllocSetContextCreate(context, "pg_flo webhook request", ALLOCSET_SMALL_SIZES);
	MemoryContextSwitchTo(old);
	return parcel;
}

void
flo_parcel_clear(FloParcel *parcel)
{
	parcel->count = 0;
	MemoryContextReset(parcel->context);
	parcel->marks = NULL;
	parcel->room = 0;

	/* do not keep the memory of a huge row */
	if (parcel->body.maxlen > KEPT_ROOM)
	{
		parcel->body.data = repalloc(parcel->body.data, 1024);
		parcel->body.maxlen = 1024;
	}
	resetStringInfo(&parcel->body);
}

void
flo_parcel_free(FloParcel *parcel)
{
	MemoryContextDelete(parcel->context);
	pfree(parcel->body.data);
	pfree(parcel);
}

void
flo_parcel_add(FloParcel *parcel, bool array, const char *event, int len, const char *id,
			   FloPlace place)
{
	FloMark	   *mark;

	if (parcel->count == parcel->room)
	{
		int			room = Max(parcel->room * 2, 4);
		FloMark	   *marks = MemoryContextAlloc(parcel->context, sizeof(FloMark) * room);

		if (parcel->count > 0)
			memcpy(marks, parcel->marks, sizeof(FloMark) * parcel->count);
		parcel->marks = marks;
		parcel->room = room;
	}
	if (array)
	{
		/* the bracket that closed it before gives way */
		if (parcel->count > 0)
			parcel->body.data[parcel->body.len - 1] = ',';
		else
			appendStringInfoChar(&parcel->body, '[');
	}
	mark = &parcel->marks[parcel->count++];
	mark->offset = parcel->body.len;
	mark->len = len;
	mark->id = MemoryContextStrdup(parcel->context, id);
	mark->place = place;
	appendBinaryStringInfo(&parcel->body, event, len);
	if (array)
		appendStringInfoChar(&parcel->body, ']');
}
