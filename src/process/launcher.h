/*
 * launcher.h
 *		The process that keeps the wanted members running.
 */
#ifndef FLO_LAUNCHER_H
#define FLO_LAUNCHER_H

/* From _PG_init: have the postmaster start it */
extern void flo_launcher_register(void);

#endif
