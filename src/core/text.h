/*
 * text.h
 *		Values as text, which parameters of SQL and members of JSON are, and back.
 *
 * Results are in the current memory context.  Text that is no such value is
 * 22P02, unless said otherwise.
 */
#ifndef FLO_TEXT_H
#define FLO_TEXT_H

#include "access/xlogdefs.h"
#include "nodes/pg_list.h"
#include "utils/uuid.h"

extern char *flo_text_of_int64(int64 value);

/* "4c4e2bb2-7a3c-4d7e-9a55-0c1d2e3f4a5b" */
extern char *flo_text_of_uuid(const pg_uuid_t *uuid);
extern void flo_uuid_of_text(const char *text, pg_uuid_t *uuid);

/* "0/16B3748" */
extern char *flo_text_of_lsn(XLogRecPtr lsn);
extern XLogRecPtr flo_lsn_of_text(const char *text);

/* False, and *lsn invalid, when the text is none or NULL */
extern bool flo_lsn_try(const char *text, XLogRecPtr *lsn);

/* A number of bytes as people read it: "12 MB" */
extern char *flo_text_of_size(int64 bytes);

/*
 * A List of char * as text[], and as the text of one: "{a,b}".  Back, elements
 * that are NULL are an error 22004.
 */
extern Datum flo_array_of_texts(const List *texts);
extern char *flo_text_of_array(const List *texts);
extern List *flo_texts_of_array(Datum array);

#endif
