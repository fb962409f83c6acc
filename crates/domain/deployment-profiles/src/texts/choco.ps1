# Checks, installs or removes a package with Chocolatey.
& {
    $ErrorActionPreference = 'Stop'
    $package = $env:MUSTER_PACKAGE
    $version = $env:MUSTER_VERSION
    $given = @($args -ne $null)
    $code = 2

    function Test-Wanted {
        $words = 'list', '--exact', $package, '--limit-output'
        # Before version 2 it lists what its sources have.
        if ($major -lt 2) { $words += '--local-only' }
        $rows = & $choco @words
        # 2 may say that there is no such package.
        if (0, 2 -notcontains $LASTEXITCODE) {
            throw "choco could not list what is installed and ended with ${LASTEXITCODE}: $rows"
        }
        $versions = @(foreach ($row in $rows) {
            $name, $installed = $row -split '\|'
            if ($name -eq $package) { "$installed" }
        })
        if ($env:MUSTER_WANTED -eq 'absent') { return $versions.Count -eq 0 }
        if (-not $version) { return $versions.Count -gt 0 }
        $versions -contains $version
    }

    # Windows PowerShell does not escape quotes within arguments.
    function Start-Program([string] $File, [string[]] $Words) {
        $line = foreach ($word in $Words) {
            if ($word -notmatch '[\s"]|\A\z') { $word; continue }
            '"' + ($word -replace '(\\*)"', '$1$1\"' -replace '(\\+)\z', '$1$1') + '"'
        }
        $start = New-Object Diagnostics.ProcessStartInfo $File, ($line -join ' ')
        $start.UseShellExecute = $false
        $process = [Diagnostics.Process]::Start($start)
        $process.WaitForExit()
        $process.ExitCode
    }

    try {
        # It takes `all` for every package, and reads the names of packages from a file.
        $odd = '\A(all|.*\.(config|nupkg|nuspec))\z'
        if ($package -notmatch '\A[A-Za-z0-9_][A-Za-z0-9_.+-]*\z' -or $package -match $odd) {
            throw "'$package' is no name of a package"
        }
        if ($version -and $version -notmatch '\A[A-Za-z0-9][A-Za-z0-9.+-]*\z') {
            throw "'$version' is no version of a package"
        }
        if ('present', 'absent' -notcontains $env:MUSTER_WANTED) {
            throw "MUSTER_WANTED is neither 'present' nor 'absent'"
        }
        if ('check', 'apply' -notcontains $env:MUSTER_OPERATION) {
            throw "MUSTER_OPERATION is neither 'check' nor 'apply'"
        }
        $found = Get-Command choco.exe -CommandType Application -ErrorAction SilentlyContinue
        $choco = $found | Select-Object -First 1 -ExpandProperty Path
        if (-not $choco) { $choco = "$env:ProgramData\chocolatey\bin\choco.exe" }
        if (-not [IO.File]::Exists($choco)) { throw 'there is no Chocolatey: install it first' }
        $major = & $choco --version | ForEach-Object { if ($_ -match '\A(\d+)\.') { $Matches[1] } }
        $major = [int] ($major | Select-Object -First 1)

        if (Test-Wanted) { $code = 0 }
        elseif ($env:MUSTER_OPERATION -eq 'check') { $code = 1 }
        else {
            if ($env:MUSTER_WANTED -eq 'absent') { $words = @('uninstall', $package) }
            elseif (-not $version) { $words = @('install', $package) + $given }
            else {
                # It installs as well, and leaves no other version alone.
                $words = @('upgrade', $package, "--version=$version", '--allow-downgrade') + $given
            }
            $ended = Start-Program $choco ($words + '--yes' + '--no-progress' + '--limit-output')
            # The last two say that Windows has to boot again, or does.
            if (0, 3010, 1641 -notcontains $ended) {
                $code = $ended
                throw "choco ended with ${code}: it says why above"
            }
            if (-not (Test-Wanted)) {
                $code = 1
                throw "choco ended well, but $package is not as it is wanted: see what it wrote"
            }
            $code = 0
        }
    } catch { [Console]::Error.WriteLine("muster: $_") }
    exit $code
} @args
