/*
 * place.h
 *		A snapshot at an exact place of the stream, with a marker there, while the
 *		replicator streams on.
 */
#ifndef FLO_PLACE_H
#define FLO_PLACE_H

#include "bus/bus.h"
#include "core/process.h"
#include "monitor/place.h"
#include "postmaster/bgworker.h"
#include "source/decoder.h"
#include "source/publisher.h"
#include "source/slots.h"

/* The replicator's part */
typedef struct FloPlace
{
	FloPlaceUser user;
	uint16		flag;			/* of the marker's chunk */
	FloBus	   *bus;
	BackgroundWorkerHandle *leader; /* takes the snapshot; NULL: none runs */

	/*
	 * As the builder of its snapshot, which reads the same WAL, see
	 * SnapBuildFindSnapshot()
	 */
	int			stage;			/* what has to end before it is consistent */
	TransactionId next_phase_at;
	XLogRecPtr	considered;		/* the last record that was looked at */
	bool		late;			/* it was waited for long enough */
} FloPlace;

/*
 * Between transactions, after each record: nothing is decoded beyond a snapshot before
 * its marker
 */
extern void flo_place_look(FloPlace *place, FloDecoder *decoder, FloPublisher *publisher);

static inline void
flo_place_step(FloPlace *place, FloDecoder *decoder, FloPublisher *publisher)
{
	if (unlikely(place->leader != NULL))
		flo_place_look(place, decoder, publisher);
}

/* The leader must not go on, and keep a slot, when the process has gone that it is for */
extern void flo_place_end_leader(int code, Datum place);

/* The leader's part */
typedef struct FloPlaceTaker
{
	const FloProcessArgs *args;
	FloPlaceUser user;
	const char *slot;			/* name of the one that lives for a moment */
	const char *point;			/* injection point just before it is taken */
	int64		id;				/* of what is led */

	/* The text of the marker, palloc'd, when the place is known */
	char	   *(*marker) (void *arg, XLogRecPtr lsn);
	void	   *arg;
	struct dsm_segment *segment;	/* holds it */
} FloPlaceTaker;

/*
 * Open a transaction with the snapshot, which is active then, and say where it is;
 * invalid when the replicator was beyond it, and no transaction is open.  In the
 * current memory context.
 */
extern XLogRecPtr flo_place_take(FloPlaceTaker *taker);

extern void flo_place_set_phase(const FloPlaceTaker *taker, FloPlacePhase phase);

/* Where the replicator finds how far reading is */
extern void flo_place_show(const FloPlaceTaker *taker, uint32 segment);

#endif
