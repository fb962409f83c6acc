# Checks or writes a file.
& {
    $ErrorActionPreference = 'Stop'
    $path = $env:MUSTER_PATH
    $temporary = $null
    $code = 2

    function Get-Sha256([string] $File) {
        $stream = [IO.File]::OpenRead($File)
        try { $sum = [Security.Cryptography.SHA256]::Create().ComputeHash($stream) }
        finally { $stream.Dispose() }
        [BitConverter]::ToString($sum).Replace('-', '')
    }

    try {
        if ($path -notmatch '\A([A-Za-z]:[\\/]|\\\\)') { throw 'MUSTER_PATH is no absolute path' }
        if ('check', 'apply' -notcontains $env:MUSTER_OPERATION) {
            throw "MUSTER_OPERATION is neither 'check' nor 'apply'"
        }
        $there = Get-Item -LiteralPath $path -Force -ErrorAction SilentlyContinue
        $odd = $path -match '[\\/]\z' -or $there.PSIsContainer
        $odd = $odd -or $there.LinkType -eq 'SymbolicLink'
        $code = 1
        if ($there -and -not $odd -and (Get-Sha256 $path) -eq $env:MUSTER_SHA256) { exit 0 }
        if ($env:MUSTER_OPERATION -eq 'check') { exit 1 }
        if ($odd) {
            $code = 4
            throw "$path is a folder or a symbolic link: name another file, or remove it"
        }

        $folder = [IO.Path]::GetDirectoryName($path)
        $null = [IO.Directory]::CreateDirectory($folder)
        $temporary = [IO.Path]::Combine($folder, ".muster-$([Guid]::NewGuid())")
        $code = 5
        if (-not $env:MUSTER_URL) {
            [IO.File]::WriteAllBytes($temporary, [Convert]::FromBase64String("$env:MUSTER_CONTENT"))
        } elseif ($env:MUSTER_URL -match '\Ahttps?://') {
            # Older ones of Windows leave it out.
            [Net.ServicePointManager]::SecurityProtocol =
                [Net.ServicePointManager]::SecurityProtocol -bor [Net.SecurityProtocolType]::Tls12
            $client = New-Object Net.WebClient
            $client.Headers['User-Agent'] = 'Muster'
            $client.DownloadFile($env:MUSTER_URL, $temporary)
        } else {
            [IO.File]::Copy($env:MUSTER_URL, $temporary)
            [IO.File]::SetAttributes($temporary, 'Normal')
        }
        if ((Get-Sha256 $temporary) -ne $env:MUSTER_SHA256) {
            $code = 3
            throw "the content for $path has another SHA-256 than expected: nothing was replaced"
        }
        $code = 1
        # The rights and attributes of what is there stay; no name of a copy of it is given, for
        # which PowerShell would make an empty one of $null.
        if ([IO.File]::Exists($path)) {
            [IO.File]::Replace($temporary, $path, [NullString]::Value, $true)
        } else { [IO.File]::Move($temporary, $path) }
        $code = 0
    } catch {
        $advice = if ($code -eq 5) { '; see that this machine reaches where the file is' }
        [Console]::Error.WriteLine("muster: $_$advice")
    }
    finally {
        if ($temporary) { Remove-Item -LiteralPath $temporary -Force -ErrorAction SilentlyContinue }
    }
    exit $code
}
