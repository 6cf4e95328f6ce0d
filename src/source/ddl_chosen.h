/*
 * ddl_chosen.h
 *		Which groups leave out, or list, what a DDL statement is about.
 */
#ifndef FLO_DDL_CHOSEN_H
#define FLO_DDL_CHOSEN_H

#include "wire/ddl.h"

/*
 * Fills in left_out_of and listed_in of ddl->objects and ddl->refers, before
 * the statement has run
 */
extern void flo_ddl_note_choices(FloDdlStatement *ddl);

#endif
