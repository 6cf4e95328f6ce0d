/*
 * signals.h
 *		Signals kept from threads of libraries: those must not run the
 *		server's handlers.
 *
 * A thread inherits the mask of the one that starts it.
 */
#ifndef FLO_SIGNALS_H
#define FLO_SIGNALS_H

#include <pthread.h>
#include <signal.h>

static inline void
flo_block_signals(sigset_t *saved)
{
	sigset_t	all;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, saved);
}

/* Blocks all but what ends the process; for code that starts no thread */
static inline void
flo_block_most_signals(sigset_t *saved)
{
	sigset_t	most;

	sigfillset(&most);
	sigdelset(&most, SIGTERM);
	sigdelset(&most, SIGQUIT);
	pthread_sigmask(SIG_SETMASK, &most, saved);
}

static inline void
flo_restore_signals(const sigset_t *saved)
{
	pthread_sigmask(SIG_SETMASK, saved, NULL);
}

#endif
