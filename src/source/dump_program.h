/*
 * dump_program.h
 *		Which pg_dump is run, and how it gets to this database.
 */
#ifndef FLO_DUMP_PROGRAM_H
#define FLO_DUMP_PROGRAM_H

#include "conf/spec.h"

/* The program that belongs to this server, unless the setting names one; palloc'd */
extern char *flo_dump_program(void);

/* A connection string: what the setting does not say is taken from ourselves.  In a transaction. */
extern char *flo_dump_connection(const FloReplicatorSpec *spec);

#endif
