/*
 * squeeze.h
 *		The records of a chunk, compressed while they travel and lie at the broker.
 *
 * The header stays as it is, so that whoever looks for a place reads it alone.  Behind
 * it: the length of the records (32 bits), then one block of LZ4.
 */
#ifndef FLO_SQUEEZE_H
#define FLO_SQUEEZE_H

#include "wire/chunk.h"

/*
 * What the records of a compressed chunk come to, expanded, at most: more than any
 * writer packs today.  Nothing is allocated for one that claims more.
 */
#define FLO_SQUEEZED_MAX	(1024 * 1024)

/* Who writes chunks; zeroed at first */
typedef struct FloSqueezer
{
	bool		on;				/* all that read them can expand it */
	int			misses;			/* in a row, that did not become smaller */
	int			pause;			/* chunks until it is tried again */
} FloSqueezer;

/*
 * Before a chunk is sealed.  True when it is worth it: then "out" holds it, to be sealed
 * with FLO_CHUNK_COMPRESSED instead of "chunk".  Its memory is kept for the next one.
 */
extern bool flo_chunk_squeeze(FloSqueezer *squeezer, const StringInfoData *chunk, StringInfo out);

/*
 * Reading: as flo_chunk_parse(), and for a compressed chunk *data and *len become those of
 * its plain form, in "room", with a byte to write to behind it; the header has not the
 * flag any more.  Holds as long as nothing else is opened there.  Such bytes are not for
 * flo_chunk_parse() again, the checksum is of those that travelled.
 */
extern const char *flo_chunk_open(char **data, int *len, FloChunkHeader *header, StringInfo room);

/* The same for bytes that are palloc'd: the plain ones take their place */
extern const char *flo_chunk_open_own(char **data, int *len, FloChunkHeader *header);

#endif
