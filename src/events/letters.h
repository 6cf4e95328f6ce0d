/*
 * letters.h
 *		Dead letters of a sink: kept until they can be written, and sent again.
 */
#ifndef FLO_LETTERS_H
#define FLO_LETTERS_H

#include "conf/event_tables.h"

/* Dead letters that are gathered before they are written */
#define FLO_LETTERS_ROOM 100

typedef struct FloLetters
{
	const FloWorkerSpec *spec;
	MemoryContext context;
	List	   *pending;		/* of FloDeadLetter *, not written yet */
	bool		wanted;			/* somebody may have asked for one to be sent
								 * again */
} FloLetters;

extern void flo_letters_init(FloLetters *letters, const FloWorkerSpec *spec, MemoryContext context);

/* What it refers to is copied */
extern void flo_letters_add(FloLetters *letters, const FloDeadLetter *letter);

/* In a transaction: those that were added; they are forgotten */
extern void flo_letters_write(FloLetters *letters);

/*
 * Sends one; "error" is left empty when it was taken.  Outside of transactions, like
 * the next: one letter that somebody wants to be sent again; false when there is none.
 */
typedef void (*FloLetterSender) (void *arg, const FloDeadLetter *letter, char *error, size_t size);

extern bool flo_letters_redrive(FloLetters *letters, FloLetterSender send, void *arg);

#endif
