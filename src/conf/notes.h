/*
 * notes.h
 *		What has been found out about tables in this transaction.
 *
 * A note is gone when the transaction, or the savepoint in which it was made,
 * is rolled back.
 */
#ifndef FLO_NOTES_H
#define FLO_NOTES_H

typedef enum FloNote
{
	FLO_NOTE_NONE,
	FLO_NOTE_WHOLE,				/* all rows that it has travel, or are asked
								 * for */
	FLO_NOTE_ASKED,				/* the same: it joins with the copy that is
								 * asked for */
	FLO_NOTE_APART,				/* rows were, or could be, written that do not */
	FLO_NOTE_LEFT_OUT			/* it was a partition of a table left out */
} FloNote;

extern void flo_notes_init(void);

/* The newest one of a table takes the place of others */
extern void flo_notes_set(const char *group, Oid relation, FloNote note);
extern FloNote flo_notes_get(const char *group, Oid relation);

#endif
