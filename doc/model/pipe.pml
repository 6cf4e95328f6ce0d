/*
 * pipe.pml - the pipe of pg_flo as a model for spin.
 *
 * A publisher cuts some source transactions into messages, a broker stores
 * them with an expected sequence, a worker applies them.  Everything that may
 * go wrong on the way may go wrong at any moment: the publisher's connection
 * is lost while its messages are still under way and arrive later, publishes
 * are refused, the worker crashes and loses what it had not flushed.
 *
 * A transaction is a run of pieces (rows); an LSN is a number of commits.
 * Checked by assertions: each transaction is applied exactly once, whole and
 * in order; at the end everything is applied, or somebody has said "gap".
 *
 * check.sh runs it as it is, and once with each rule taken away by
 *	 -DWITHOUT_EPOCH		rules 3, 5: sessions have no number, nothing is void
 *	 -DWITHOUT_SLOW_START	rule 4: a session sends its whole window at once
 *	 -DWITHOUT_SLACK		rule 16: purge everything that is acknowledged
 *	 -DHEARTBEAT_ANYWHERE	rule 14: also inside a transaction
 *	 -DACK_HALF				rule 27: acknowledge a message with half a transaction
 *	 -DACK_UNFLUSHED		rule 27: acknowledge before the commit is on disk
 *	 -DENTER_OUTSIDE		rule 20 as it was: enter only where no transaction is open
 * Sizes: W, LOSSES (of the publisher's connection), CRASHES (of the worker),
 * REFUSALS, HEARTBEATS, END2 (length of the long transaction), STORE (messages the broker may hold in all).
 * With -DBACKLOG=n there are n transactions of LENGTH pieces back to back instead, so that every
 * message may begin inside one, and the worker may be started again anywhere between them.
 * With -DPURGE the broker removes what the worker has acknowledged.
 */
#ifndef W
#define W 2
#endif
#ifndef LOSSES
#define LOSSES 1
#endif
#ifndef CRASHES
#define CRASHES 1
#endif
#ifndef REFUSALS
#define REFUSALS 0
#endif
#ifndef HEARTBEATS
#define HEARTBEATS 0
#endif
#ifndef STORE
#define STORE 24
#endif
#ifdef WITHOUT_SLACK
#define SLACK 0
#else
#define SLACK W
#endif

#ifdef BACKLOG
#ifndef LENGTH
#define LENGTH 2
#endif
#define PIECES (BACKLOG * LENGTH)
#define TRANSACTIONS BACKLOG
#define TXN_OF(p)		(((p) + LENGTH - 1) / LENGTH)
#define IS_BEGIN(p)		((p) % LENGTH == 1)
#define IS_COMMIT(p)	((p) % LENGTH == 0)
#define COMMITS_UPTO(p) ((p) / LENGTH)
#define PIECE_AFTER(c)	((c) * LENGTH + 1)
#else
/* Transaction 1 is piece 1, transaction 2 the pieces from 2 to END2, transaction 3 the next one */
#ifndef END2
#define END2 3
#endif
#define PIECES (END2 + 1)
#define TRANSACTIONS 3
#define TXN_OF(p)		((p) == 1 -> 1 : ((p) <= END2 -> 2 : 3))
#define IS_BEGIN(p)		((p) == 1 || (p) == 2 || (p) > END2)
#define IS_COMMIT(p)	((p) == 1 || (p) == END2 || (p) == END2 + 1)
#define COMMITS_UPTO(p) ((p) > END2 -> 3 : ((p) == END2 -> 2 : ((p) >= 1 -> 1 : 0)))
#define PIECE_AFTER(c)	((c) == 0 -> 1 : ((c) == 1 -> 2 : ((c) == 2 -> END2 + 1 : END2 + 2)))
#endif

/* A message holds the pieces first..last; a heartbeat has last = first - 1 */
typedef Message { byte first; byte last; byte epoch };

/* the broker */
Message store[STORE + 2];
byte last_seq = 0;
byte first_seq = 1;
chan wire[2] = [W] of { byte, byte, byte, byte };	/* expected sequence, first, last, epoch */
chan answers = [W] of { bit, byte };				/* stored?, last piece */

/* the publisher; of two connections one is in use, the other one's messages may still arrive */
byte connection = 0;
byte next_piece, expected, in_flight, epoch, seq_at_start;
bit refused;
byte confirmed = 0, confirmed_on_disk = 0;
bit published_all = 0;
byte losses = LOSSES, refusals = REFUSALS, heartbeats = HEARTBEATS;

/* the destination */
byte committed = 0, flushed = 0, acked = 0;
byte crashes = CRASHES;
bit gap = 0;		/* somebody has said that data is missing */

hidden byte i, newest, highest, base;

/* Session start: the newest message that is not void says where to go on (rules 3, 5, 8, 9) */
inline begin_session()
{
	d_step {
		newest = 0; highest = 0;
#ifdef WITHOUT_EPOCH
		if :: last_seq >= first_seq -> newest = last_seq :: else fi;
#else
		i = (last_seq > W -> last_seq - W : 1);
		if :: i < first_seq -> i = first_seq :: else fi;
		do
		:: i <= last_seq ->
			if :: store[i].epoch >= highest -> highest = store[i].epoch; newest = i :: else fi;
			i++
		:: else -> break
		od;
#endif
		base = (newest > 0 -> COMMITS_UPTO(store[newest].last) : 0);
		/* rule 11: a stream that ends before what was confirmed has lost something */
		if :: base < confirmed -> gap = 1; base = confirmed :: else fi;
		refused = 0; in_flight = 0; expected = last_seq; seq_at_start = last_seq;
		epoch = highest + 1;
		next_piece = PIECE_AFTER(base);
		i = 0; newest = 0; highest = 0; base = 0
	}
}

/* Rule 4: one at a time until no message of an older connection can fit any more */
#ifdef WITHOUT_SLOW_START
#define WINDOW W
#else
#define WINDOW ((expected - in_flight) >= (seq_at_start + W) -> W : 1)
#endif

#ifdef HEARTBEAT_ANYWHERE
#define HEARTBEAT_ALLOWED true
#else
#define HEARTBEAT_ALLOWED IS_BEGIN(next_piece)
#endif

#define MAY_SEND (!refused && in_flight < WINDOW && nfull(wire[connection]))

/* Nothing of the connection in use will be heard of any more; its messages may still arrive */
inline give_up_connection()
{
	connection = 1 - connection;
	do :: wire[connection]?_,_,_,_ :: empty(wire[connection]) -> break od;
	do :: answers?_,_ :: empty(answers) -> break od
}

active proctype Publisher()
{
	byte last;

	atomic { begin_session() };
	do
	/* a message of one or two pieces */
	:: atomic { next_piece <= PIECES && MAY_SEND ->
		if
		:: last = next_piece
		:: next_piece < PIECES -> last = next_piece + 1
		fi;
		wire[connection]!expected,next_piece,last,epoch;
		expected++; in_flight++; next_piece = last + 1; last = 0 }
	:: atomic { heartbeats > 0 && HEARTBEAT_ALLOWED && MAY_SEND ->
		heartbeats--;
		wire[connection]!expected,next_piece,next_piece - 1,epoch;
		expected++; in_flight++ }
	/* stored: confirm, and save the slot now or later (rule 12 without its delay) */
	:: atomic { answers?[1,_] ->
		answers?1,last;
		in_flight--;
		if :: COMMITS_UPTO(last) > confirmed -> confirmed = COMMITS_UPTO(last) :: else fi;
		last = 0;
		if :: confirmed_on_disk = confirmed :: skip fi }
	/* rule 6: refused; what follows in the window does not count */
	:: atomic { answers?[0,_] -> answers?0,_; in_flight--; refused = 1 }
	:: atomic { refused && in_flight == 0 -> begin_session() }
	/* no answer any more */
	:: atomic { in_flight > 0 && empty(wire[connection]) && empty(answers) ->
		give_up_connection(); begin_session() }
	/* connection lost, or the process died and with it what the slot had in memory */
	:: atomic { losses > 0 && !published_all ->
		losses--;
		give_up_connection();
		if :: confirmed = confirmed_on_disk :: skip fi;
		begin_session() }
	:: atomic { next_piece > PIECES && in_flight == 0 && !refused && flushed == TRANSACTIONS &&
		empty(wire[0]) && empty(wire[1]) -> published_all = 1; break }
	:: atomic { gap -> break }
	od
}

/* A publish is stored if the stream ends where it expects */
inline receive(n)
{
	wire[n]?wanted,one.first,one.last,one.epoch;
	ok = 0;
	if
	:: wanted == last_seq ->
		if
		:: true ->
			assert(last_seq < STORE);
			last_seq++;
			store[last_seq].first = one.first; store[last_seq].last = one.last; store[last_seq].epoch = one.epoch;
			ok = 1
		:: refusals > 0 -> refusals--
		fi
	:: else
	fi;
	if :: n == connection -> answers!ok,one.last :: else fi;
	wanted = 0; one.first = 0; one.last = 0; one.epoch = 0; ok = 0
}

active proctype Broker()
{
	byte wanted;
	Message one;
	bit ok;

	do
	:: atomic { nempty(wire[0]) -> receive(0) }
	:: atomic { nempty(wire[1]) -> receive(1) }
#ifdef PURGE
	:: atomic { first_seq + SLACK <= acked && first_seq + SLACK <= last_seq ->
		store[first_seq].first = 0; store[first_seq].last = 0; store[first_seq].epoch = 0;
		first_seq++ }
#endif
	:: atomic { published_all || gap -> break }
	od
}

/* Is there a message among the W before s with a higher epoch (rule 5)? */
inline look_back(s)
{
	is_void = 0;
#ifndef WITHOUT_EPOCH
	i = (s > W -> s - W : 1);
	if :: i < first_seq -> i = first_seq :: else fi;
	do
	:: i < s -> if :: store[i].epoch > store[s].epoch -> is_void = 1 :: else fi; i++
	:: else -> break
	od;
	i = 0
#endif
}

#define FROM(m)			COMMITS_UPTO(m.first - 1)
#define UPTO(m)			COMMITS_UPTO(m.last)
#define INSIDE(m)		(!IS_BEGIN(m.first) && m.last >= m.first)

/*
 * Rule 20: one may enter at a message that leaves nothing out and begins
 * outside a transaction, or inside one that ends in it, at or below the position
 */
#if defined(ENTER_OUTSIDE)
#define ENTRANCE(m)		(FROM(m) <= committed && !INSIDE(m))
#else
#define ENTRANCE(m)		(FROM(m) <= committed && (!INSIDE(m) || (UPTO(m) > FROM(m) && TXN_OF(m.first) <= committed)))
#endif

/* Rule 19: it can be entered, or goes on exactly where the last one ended */
#define CONTINUES(m)	(INSIDE(m) && half == m.first - 1 && half_epoch == m.epoch)
#define LINKS(m)		(FROM(m) <= committed && (CONTINUES(m) || ENTRANCE(m)))

/* The newest message at or below s that counts; s < first_seq when there is none */
inline newest_that_counts()
{
	is_void = 1;
	do
	:: s >= first_seq && s > 0 -> look_back(s); if :: is_void -> s-- :: else -> break fi
	:: else -> break
	od;
	is_void = 0
}

/*
 * locate(): the newest message that leaves nothing out, or the one where the
 * transaction began that it is inside of; or all that comes, if the position is at
 * the end.  Then earliest_unseen(): the first one from which everything to
 * there is at or beyond the position; pieces without their begin are passed over.
 */
inline attach()
{
	half = 0; half_epoch = 0; entered = 0; reach = 0;
	s = last_seq;
	newest_that_counts();
	if
	:: s < first_seq || s == 0 -> next = last_seq + 1
	:: else ->
		if
		:: UPTO(store[s]) <= committed && (store[s].last < store[s].first || IS_COMMIT(store[s].last)) -> next = s + 1
		:: else ->
			do
			:: s >= first_seq && s > 0 && FROM(store[s]) > committed -> s--; newest_that_counts()
			:: else -> break
			od;
			if
			:: s < first_seq || s == 0 -> gap = 1
			:: else ->
				reach = UPTO(store[s]);
				do
				:: s >= first_seq && s > 0 && INSIDE(store[s]) && !ENTRANCE(store[s]) -> s--; newest_that_counts()
				:: else -> break
				od;
				if
				:: s < first_seq || s == 0 ->
					if :: reach > committed -> gap = 1 :: else -> next = last_seq + 1 fi
				:: else -> next = s
				fi
			fi
		fi
	fi;
	/* back as long as what is before reaches the position, too */
	s = (next > last_seq -> last_seq : next);
	newest_that_counts();
	do
	:: !gap && s >= first_seq && s > 0 && UPTO(store[s]) >= committed -> next = s; s--; newest_that_counts()
	:: else -> break
	od;
	s = 0; reach = 0
}

/* Rule 24: a piece belongs to the open half, or opens one, or is of a transaction that was applied (rule 22) */
inline apply_piece(p)
{
	if
	:: TXN_OF(p) <= committed
	:: else ->
		if
		:: IS_BEGIN(p) -> half = p; half_epoch = store[next].epoch
		:: else -> assert(half == p - 1); half = p
		fi;
		if
		:: IS_COMMIT(p) -> assert(TXN_OF(p) == committed + 1); committed++; half = 0; half_epoch = 0
		:: else
		fi
	fi
}

/* Rule 27 */
#ifdef ACK_UNFLUSHED
#define DURABLE committed
#else
#define DURABLE flushed
#endif
#ifdef ACK_HALF
#define WHOLE(m) true
#else
#define WHOLE(m) (IS_BEGIN(m.last + 1) || TXN_OF(m.last) <= DURABLE)
#endif

active proctype Worker()
{
	byte next = 1;			/* the sequence that must come next (rule 18) */
	byte half = 0, half_epoch = 0;	/* last piece of an open transaction, and the session it came in */
	byte unlinked = 0;		/* a message that did not link: a second time it never will */
	byte p, s, reach;
	bit is_void, entered = 0;

	do
	:: atomic { !gap && next <= last_seq ->
		d_step { look_back(next) };
		if
		:: next < first_seq -> next++
		:: next >= first_seq && is_void -> next++
		:: next >= first_seq && !is_void && !entered && INSIDE(store[next]) && !ENTRANCE(store[next]) -> next++
		:: next >= first_seq && !is_void && (entered || !INSIDE(store[next]) || ENTRANCE(store[next])) && !LINKS(store[next]) ->
			/* rule 19: look for the place, once for each message */
			if
			:: unlinked == next -> gap = 1
			:: else -> unlinked = next; d_step { attach() }
			fi
		:: else ->
			d_step {
				if :: !CONTINUES(store[next]) -> half = 0; half_epoch = 0 :: else fi;
				p = store[next].first;
				do
				:: p <= store[next].last -> apply_piece(p); p++
				:: else -> break
				od;
				if :: next >= unlinked -> unlinked = 0 :: else fi;
				p = 0; entered = 1; next++
			}
		fi;
		is_void = 0 }
	:: atomic { flushed < committed -> flushed = committed }
	:: atomic { acked + 1 < next && acked + 1 <= last_seq &&
		COMMITS_UPTO(store[acked + 1].last) <= DURABLE && WHOLE(store[acked + 1]) -> acked++ }
	/* a crash: what was not flushed is gone, and the worker looks for its place by its position alone */
	:: atomic { crashes > 0 ->
		crashes--;
		d_step { committed = flushed; unlinked = 0; attach() } }
	:: atomic { published_all || gap -> break }
	od;
	/* the broker forgets nothing here, so nothing may be missing */
	assert(!gap);
	assert(committed == TRANSACTIONS)
}
