/*
 * attempt.h
 *		One attempt to connect to NATS, as the settings say.
 */
#ifndef FLO_BUS_ATTEMPT_H
#define FLO_BUS_ATTEMPT_H

#include "bus/bus_impl.h"

/* Of pg_flo_bus; NULL before the first attempt */
extern const FloNatsFunctions *flo_bus_module;

/*
 * What the settings are, in one text with secrets in it that is only to be compared;
 * palloc'd.
 */
extern char *flo_bus_settings(void);

/*
 * An attempt that takes too long is an error, unless "patient": then it is left alone,
 * a few times.  Without a connection the words say why, with secrets blotted out that
 * were read from files, and no others.
 */
extern FloNatsStatus flo_bus_attempt(const char *name, bool patient, FloNats **nats,
									 char *words, size_t words_size);

#endif
