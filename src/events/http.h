/*
 * http.h
 *		Requests to several endpoints at once, from this process's own loop.
 *
 * libcurl does the work, in a module that only workers that need it load.  All waits
 * end when the process is told to.
 */
#ifndef FLO_HTTP_H
#define FLO_HTTP_H

#include "events/headers.h"
#include "events/http_impl.h"

/* Load the module; 55000 when it is of another version, 58P01 when it is missing */
extern const FloHttpFunctions *flo_http_load(void);

/*
 * Let requests proceed: wait for up to timeout_ms until one of their sockets
 * is ready, and do what is possible.  Serves interrupts, like flo_wait().
 */
extern void flo_http_wait(const FloHttpFunctions *functions, FloHttp *http, long timeout_ms);

/*
 * What went wrong, in words that are fit to be shown, without the headers that are
 * configured; "" when nothing did
 */
extern void flo_http_describe_failure(const FloHttpResult *result, const FloHeaders *headers,
									  char *error, size_t size);

/*
 * ms to wait before the next attempt, after so many that failed: half to the whole
 * of a pause that doubles each time, or what the endpoint has asked for.
 */
extern int64 flo_http_pause(int attempts, int64 retry_after);

/* What is to be done about it; NULL when nobody knows */
extern const char *flo_http_hint(const FloHttpResult *result);

#endif
