package bulk

// Code says what is wrong with a table, a zip or a row. Codes are stable: they stand in the
// database and name texts of the console.
type Code string

// What is wrong with a table as a whole.
const (
	CodeUnreadable    Code = "unreadable"
	CodeQuotes        Code = "quotes"  // detail: the line
	CodeColumns       Code = "columns" // too many; detail: the limit
	CodeCell          Code = "cell"    // one too large; detail: the line
	CodeOldWorkbook   Code = "old_workbook"
	CodeEmpty         Code = "empty"
	CodeTooMany       Code = "too_many"
	CodeTooLarge      Code = "too_large"
	CodeTooMuch       Code = "too_much" // cells together; detail: MiB that they may have
	CodeRagged        Code = "ragged"   // a cell in a column without a name; detail: which
	CodeUnknownColumn Code = "unknown_column"
	CodeNoColumn      Code = "no_column"
	CodeNoDocument    Code = "no_document" // neither files nor digests
	CodeBoth          Code = "both"        // files and digests
	CodeTwice         Code = "twice"       // of columns

	CodeLockedWorkbook Code = "locked_workbook" // it needs a password
	CodeOtherForm      Code = "other_form"      // of file; detail: which
	CodeNoHeader       Code = "no_header"       // detail: in how many lines it was looked for
	CodeHidden         Code = "hidden"          // all sheets that hold something; detail: their names
)

// TableCodes are all of the above.
var TableCodes = []Code{CodeUnreadable, CodeQuotes, CodeColumns, CodeCell, CodeOldWorkbook, CodeEmpty, CodeTooMany,
	CodeTooLarge, CodeTooMuch, CodeRagged, CodeUnknownColumn, CodeNoColumn, CodeNoDocument, CodeBoth, CodeTwice,
	CodeLockedWorkbook, CodeOtherForm, CodeNoHeader, CodeHidden}

// What is wrong with a row or its file. Faults of a class's attributes have the codes of
// [class.Fault]; those without a text of their own are CodeSchema.
const (
	CodeMissing      Code = "missing"
	CodeExample      Code = "example"    // the row is the template's
	CodeForm         Code = "form"       // too long, or with characters that cannot be there
	CodeDigest       Code = "digest"     // no SM3 digest
	CodeSize         Code = "size"       // no number of bytes
	CodeMediaType    Code = "media_type" // no media type
	CodeOtherType    Code = "other_type" // the file is of another media type; detail: which
	CodeNumber       Code = "number"     // no certificate number
	CodeNoRecord     Code = "no_record"  // nothing valid to replace
	CodeSame         Code = "same"       // another row says the same; detail: its line
	CodeRegistered   Code = "registered" // detail: number of the record that has the digest
	CodeNoFile       Code = "no_file"    // not in the zip
	CodeTwiceInZip   Code = "twice_in_zip"
	CodeAlike        Code = "alike"   // several names in the zip look like this one
	CodeDamaged      Code = "damaged" // the file cannot be unpacked
	CodeLocked       Code = "locked"  // it needs a password
	CodeFileTooLarge Code = "file_too_large"
	CodeMalware      Code = "malware" // detail: what the scanner found
	CodeAll          Code = "all"     // too much together; detail: why
	CodeSchema       Code = "schema"  // detail: why
)

// What is wrong with a cell whose value is not in the table's file; detail: the cell, as a spreadsheet names it. The
// check leaves these as reading found them.
const (
	CodeDigits     Code = "digits"      // a number of more digits than a spreadsheet keeps
	CodeErrorValue Code = "error_value" // what a formula says that has no value, or "####"
	CodeNoValue    Code = "no_value"    // a formula whose value was not saved
	CodeNoDay      Code = "no_day"      // a number with the format of a day that is none
	CodeMerged     Code = "merged"      // merged with the one above or before; detail: the range
)

// ofReading are those.
var ofReading = []Code{CodeDigits, CodeErrorValue, CodeNoValue, CodeNoDay, CodeMerged}

// What is wrong with a zip as a whole.
const (
	CodeNoZip       Code = "no_zip"
	CodeZipTooMany  Code = "zip_too_many"
	CodeZipTooLarge Code = "zip_too_large"
	CodeZipNames    Code = "zip_names" // a name leads out of the folder; detail: the name
)

// CodeClass is a class that has changed since the table was taken: hand it in again.
const CodeClass Code = "class_changed"

// CodeNotary is a row that could not be notarized; detail: what the notary said.
const CodeNotary Code = "notary"

// RowCodes are all that a row, a zip or a class can have.
var RowCodes = []Code{CodeMissing, CodeExample, CodeForm, CodeDigest, CodeSize, CodeMediaType,
	CodeOtherType, CodeNumber, CodeNoRecord, CodeSame, CodeRegistered, CodeNoFile, CodeAlike, CodeTwiceInZip,
	CodeDamaged, CodeLocked,
	CodeFileTooLarge, CodeMalware, CodeAll, CodeSchema, CodeNoZip, CodeZipTooMany, CodeZipTooLarge, CodeZipNames,
	CodeClass, CodeNotary,
	CodeDigits, CodeErrorValue, CodeNoValue, CodeNoDay, CodeMerged,
	"type", "enum", "format", "pattern", "minLength", "maxLength", "minimum", "maximum"}
