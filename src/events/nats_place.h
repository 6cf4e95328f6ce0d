/*
 * nats_place.h
 *		How far a sink has come that publishes to NATS: what a message says of its
 *		place, and what is saved between processes.
 *
 * A place is written into each message, so that the newest one in the stream tells
 * what a process has published that did not come to save it.  It names the writer,
 * an accidental number of the worker's: what another worker has left under the same
 * subjects says nothing.
 */
#ifndef FLO_NATS_PLACE_H
#define FLO_NATS_PLACE_H

#include "access/xlogdefs.h"
#include "nodes/pg_list.h"

#define FLO_NATS_WRITER_SIZE 17
#define FLO_NATS_PIECE_SIZE 64
#define FLO_NATS_PLACE_SIZE 160

typedef enum FloNatsPlaceKind
{
	FLO_NATS_NOWHERE_YET,
	FLO_NATS_STREAMED,
	FLO_NATS_COPIED,
	FLO_NATS_NOTICE				/* says that partitions are others now */
} FloNatsPlaceKind;

typedef struct FloNatsPlace
{
	FloNatsPlaceKind kind;
	uint32		epoch;			/* how often partitions have changed */
	XLogRecPtr	final_lsn;		/* of a streamed change */
	char		piece[FLO_NATS_PIECE_SIZE]; /* of a copied row: its piece */
	uint64		ordinal;		/* of the change, or the row */
	uint32		message;		/* which one of those that were made of it,
								 * from 1 */
} FloNatsPlace;

/* In the order of their kind: is "a" behind "b"? */
extern bool flo_nats_place_is_beyond(const FloNatsPlace *a, const FloNatsPlace *b);

extern void flo_nats_place_write(const FloNatsPlace *place, const char *writer, char *buf,
								 size_t size);

/* False when it cannot be read, or is of another writer */
extern bool flo_nats_place_read(const char *text, const char *writer, FloNatsPlace *place);

/* What is saved */
typedef struct FloNatsState
{
	char		writer[FLO_NATS_WRITER_SIZE];
	char	   *stream;			/* NULL: none */
	char	   *subjects;		/* with wildcards */

	/* partitions, and whether all of them have been told */
	uint32		epoch;
	int			partitions;
	int			partitions_before;
	char	   *partition_by;
	bool		told;

	FloNatsPlace streamed;		/* newest change that is published */

	/*
	 * Pieces of a copy that are published in part, of FloNatsPlace: they are
	 * handed out again, after others perhaps
	 */
	List	   *pieces;
} FloNatsState;

/* What is saved of a worker that has published nothing */
extern void flo_nats_state_begin(FloNatsState *state);

/* Throw XX001 when it cannot be read; allocate in the current context */
extern void flo_nats_state_read(const char *text, FloNatsState *state);
extern char *flo_nats_state_write(const FloNatsState *state);

/* The piece of a copy among those that are published in part; NULL: none of it is */
extern FloNatsPlace *flo_nats_state_piece(const FloNatsState *state, const char *piece);

/* So far of it is; allocates in the list's context */
extern void flo_nats_state_note_piece(FloNatsState *state, const FloNatsPlace *place);
extern void flo_nats_state_forget_piece(FloNatsState *state, const char *piece);

#endif
