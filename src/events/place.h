/*
 * place.h
 *		How far a sink has come that records that within long transactions.
 */
#ifndef FLO_PLACE_H
#define FLO_PLACE_H

#include "access/xlogdefs.h"

/* A change in the stream: all of what it has become, or those up to it */
typedef struct FloPlace
{
	XLogRecPtr	final_lsn;
	uint64		ordinal;
} FloPlace;

static inline bool
flo_place_is_beyond(FloPlace a, FloPlace b)
{
	return a.final_lsn != b.final_lsn ? a.final_lsn > b.final_lsn : a.ordinal > b.ordinal;
}

/* The state that a sink saves, palloc'd, and back; XX001 when it is no such text */
extern char *flo_place_save(FloPlace place);
extern FloPlace flo_place_parse(const char *state);

#endif
