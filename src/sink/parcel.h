/*
 * parcel.h
 *		The body of a webhook request: one event or an array of them.
 */
#ifndef FLO_PARCEL_H
#define FLO_PARCEL_H

#include "access/xlogdefs.h"
#include "lib/stringinfo.h"

/* A change in the stream: all of its events, or those up to it */
typedef struct FloPlace
{
	XLogRecPtr	final_lsn;
	uint64		ordinal;
} FloPlace;

typedef struct FloMark
{
	int			offset;			/* of the event in the body */
	int			len;
	char	   *id;
	FloPlace		place;
} FloMark;

/* The body of a request */
typedef struct FloParcel
{
	MemoryContext context;		/* of the ids */
	StringInfoData body;
	FloMark	   *marks;
	int			count;
	int			room;
} FloParcel;

extern FloParcel *flo_parcel_create(MemoryContext context);
extern void flo_parcel_clear(FloParcel *parcel);
extern void flo_parcel_free(FloParcel *parcel);

/* With "array", the body is one, even of a single event */
extern void flo_parcel_add(FloParcel *parcel, bool array, const char *event, int len,
						   const char *id, FloPlace place);

#endif
