/*
 * letters.c
 *		Dead letters of a sink: kept until they can be written, and sent again.
 *
 * They are written in the transaction that records the position beyond them.
 */
#include "postgres.h"

#include "conf/endpoint.h"
#include "core/transaction.h"
#include "events/letters.h"
#include "utils/memutils.h"

void
flo_letters_init(FloLetters *letters, const FloWorkerSpec *spec, MemoryContext context)
{
	letters->spec = spec;
	letters->context = AllocSetContextCreate(context, "pg_flo dead letters",
											 ALLOCSET_DEFAULT_SIZES);
	letters->pending = NIL;
	letters->wanted = true;
}

void
flo_letters_add(FloLetters *letters, const FloDeadLetter *letter)
{
	MemoryContext old = MemoryContextSwitchTo(letters->context);
	FloDeadLetter *copy = palloc(sizeof(FloDeadLetter));

	*copy = *letter;
	copy->url = pstrdup(letter->url);
	copy->event_id = pstrdup(letter->event_id);
	copy->event = pstrdup(letter->event);
	copy->headers = letter->headers != NULL ? pstrdup(letter->headers) : NULL;
	copy->error = pstrdup(letter->error);
	letters->pending = lappend(letters->pending, copy);
	MemoryContextSwitchTo(old);
}

void
flo_letters_write(FloLetters *letters)
{
	ListCell   *lc;

	foreach(lc, letters->pending)
		flo_dead_letter_add(letters->spec->group, letters->spec->worker, lfirst(lc));
	letters->pending = NIL;
	MemoryContextReset(letters->context);
}

/* The letter to be sent next; it may no longer be allowed to */
static FloDeadLetter *
next_letter(const FloLetters *letters)
{
	MemoryContext context = flo_transaction_begin();
	FloDeadLetter *letter;

	MemoryContextSwitchTo(context);
	letter = flo_dead_letter_wanted(letters->spec->group, letters->spec->worker);
	if (letter != NULL)
		flo_url_check_allowed(letter->url, letters->spec->owner);
	flo_transaction_end(context);
	return letter;
}

bool
flo_letters_redrive(FloLetters *letters, FloLetterSender send, void *arg)
{
	MemoryContext old = MemoryContextSwitchTo(letters->context);
	FloDeadLetter *letter = next_letter(letters);
	char		error[512] = "";

	if (letter != NULL)
	{
		send(arg, letter, error, sizeof(error));
		flo_transaction_start();
		if (error[0] == '\0')
			flo_dead_letter_done(letter->id);
		else
			flo_dead_letter_failed(letter->id, error, 1);
		flo_transaction_commit();
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(letters->context);
	return letter != NULL;
}
