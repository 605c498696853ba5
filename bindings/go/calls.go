package openclawauth

// engineCall names a function of the library that takes texts and gives a text, or nothing.
type engineCall int

const (
	callProfiles engineCall = iota
	callOrder
	callKeys
	callPut
	callRemove
	callSetOrder
	callClear
	callChat
	callModels
	callSession
	callSetSession
	callExport
	callImport
	callProviders
	callLink
	callUnauthorized
	callRedact
	callSetRegistry
	callStatus
	callDoctor
)

// flowCall names a function of a login.
type flowCall int

const (
	flowInfo flowCall = iota
	flowListen
	flowComplete
	flowRequest
	flowAccept
)
