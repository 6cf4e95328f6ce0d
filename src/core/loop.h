/*
 * loop.h
 *		Signals, waiting and reloading for pg_flo's background processes.
 */
#ifndef FLO_LOOP_H
#define FLO_LOOP_H

#include "core/compat.h"
#include "storage/latch.h"

/*
 * Install handlers (SIGTERM = an orderly stop, SIGHUP = reload) and unblock
 * signals.  Once per process, as the first thing it does.
 */
extern void flo_loop_init(void);

/* Has this process been told to stop? */
extern bool flo_stop_requested(void);

/*
 * From now on a first request only makes flo_stop_requested() true and ends a wait: who has
 * something to bring to an end does so, and calls flo_stop_now().  A second request,
 * or so many ms after the first, ends the process as ever.
 */
extern void flo_stop_after(int ms);
pg_noreturn extern void flo_stop_now(void);

/* With what a process ends that ends with "code": 0 after an orderly stop */
extern int	flo_exit_code(int code);

/*
 * Wait for this process's latch, the socket (PGINVALID_SOCKET for none) or
 * the timeout in ms (-1 = none); returns the WL_* bits that fired.  Exits on
 * postmaster death, resets the latch, serves interrupts and reloads the
 * configuration file when asked to.  May throw.
 */
extern int	flo_wait(pgsocket sock, bool want_write, long timeout_ms);

/*
 * Has a wait been ended by the latch since this was asked?  Then what somebody set it for
 * may not have been looked at yet.
 */
extern bool flo_wait_take_woken(void);

/* What is waited for: wait events of pg_stat_activity, from 17 on by these names */
typedef enum FloWaitFor
{
	FLO_WAIT_IDLE,				/* PgFloIdle: something to do, or a pause */
	FLO_WAIT_STREAM,			/* PgFloStream: the next chunk, or that what
								 * was published is acknowledged */
	FLO_WAIT_NATS,				/* PgFloNats: a connection, or an answer to a
								 * request */
	FLO_WAIT_SPACE,				/* PgFloSpace: room at the broker */
	FLO_WAIT_APPLY,				/* PgFloApply: rows that others load or apply */
	FLO_WAIT_DECISION,			/* PgFloDecision: a person's word on a
								 * statement */
	FLO_WAIT_HTTP,				/* PgFloHttp: an endpoint */
	FLO_WAIT_OUTPUT,			/* PgFloOutput: the reader of what is written,
								 * or the files */
	FLO_WAIT_DUMP,				/* PgFloDump: pg_dump */
	FLO_WAIT_MEMBER,			/* PgFloMember: the end of a process */
	FLO_WAIT_LOCK,				/* PgFloLock: locks that are tried together */
	FLO_WAIT_KAFKA				/* PgFloKafka: brokers of Kafka */
} FloWaitFor;

/* Of the next wait, where it is not idle (no socket), stream (one) or http (several) */
extern void flo_wait_means(FloWaitFor what);

/* For waits of other kinds */
extern uint32 flo_wait_event(FloWaitFor what);

/* To be called when a socket is opened or closed: its number was, or will be, another's */
extern void flo_wait_forget(void);

/*
 * The same for several sockets, each with what is waited for; sets "ready" of
 * those that are.
 */
typedef struct FloWaitSocket
{
	pgsocket	sock;
	bool		read;
	bool		write;
	bool		ready;
	bool		readable;
	bool		writable;
} FloWaitSocket;

extern int	flo_wait_sockets(FloWaitSocket *sockets, int count, long timeout_ms);

/* Serve interrupts and a pending reload without waiting */
extern void flo_check_interrupts(void);

/* Counts configuration reloads: compare to see whether settings changed */
extern uint64 flo_reload_count;

/*
 * Session settings a background process must not inherit from the database
 * or a role: read_only, timeouts, search_path, DateStyle, TimeZone, ...
 */
extern void flo_pin_session_settings(void);

#endif
