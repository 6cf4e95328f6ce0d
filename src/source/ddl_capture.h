/*
 * ddl_capture.h
 *		Writes the DDL of sessions into WAL, for groups that track it.
 */
#ifndef FLO_DDL_CAPTURE_H
#define FLO_DDL_CAPTURE_H

/* From _PG_init: the hook in every backend */
extern void flo_ddl_capture_init(void);

#endif
